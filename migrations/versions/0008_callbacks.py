"""Events of checks, endpoints and deliveries; `dashboard.endpoints` and `dashboard.callbacks` show them.

Checks that have ended before have no events.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP VIEW dashboard.endpoints, dashboard.callbacks;
DROP TRIGGER checks_add_event ON susy.checks;
DROP TRIGGER reviews_add_event ON susy.reviews;
DROP FUNCTION susy.add_check_event(), susy.add_review_event();
ALTER TABLE susy.checks DROP COLUMN endpoint;
DROP TABLE susy.deliveries, susy.events, susy.endpoint_keys, susy.endpoints;
DROP SEQUENCE susy.event_positions;
"""


def upgrade() -> None:
    _run(_text("0008_callbacks.sql"))
    _run(_text("0008_dashboard.sql"))
    _run(_text("0001_dashboard_role.sql"))  # the new views


def downgrade() -> None:
    _run(DOWNGRADE)


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
