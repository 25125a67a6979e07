"""What SQLAlchemy cannot declare: storage parameters, and the triggers in the SQL files beside this package."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, MetaData, event

from schema.tables.base import metadata

SCRIPTS = (
    "append_only.sql",
    "events.sql",
    "triggers.sql",
    "reviews.sql",
    "claims.sql",
    "bulk_reviews.sql",
    "review_queue.sql",
)
"""Run in this order."""

_STORAGE = (
    # A check is updated about five times. Free space on its page keeps these updates heap-only. Vacuum runs after 2 %
    # of the rows have changed, not after 20 %, which would be 200,000 dead rows of a million. The same holds for
    # inserts, so that counts after an import can use the visibility map.
    "ALTER TABLE susy.checks SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,"
    " autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02)",
    # A delivery is updated when it is claimed and when it ends; an event when it gets its position.
    "ALTER TABLE susy.deliveries SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)",
    "ALTER TABLE susy.events SET (autovacuum_vacuum_scale_factor = 0.02)",
    # Every row is deleted seconds after it was inserted.
    "ALTER TABLE susy.decision_changes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)",
    # `susy prune` deletes a day's rows at a time: their space is free again after 2 % of the rows.
    *(
        f"ALTER TABLE susy.{table} SET (autovacuum_vacuum_scale_factor = 0.02)"
        for table in ("reviews", "scans", "verdicts")
    ),
    # A PNG is compressed already.
    "ALTER TABLE susy.scans ALTER COLUMN map_png SET STORAGE EXTERNAL",
)


@event.listens_for(metadata, "after_create")
def create_storage_and_triggers(_target: MetaData, connection: Connection, **_options: object) -> None:
    """Run after SQLAlchemy has created the tables."""
    folder = Path(__file__).parents[1]
    scripts = [(folder / name).read_text(encoding="utf-8") for name in SCRIPTS]
    for statement in (*_STORAGE, *scripts):
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
