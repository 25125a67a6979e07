"""Scans say whether their map is sampled; the dashboards' views show it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _run(_text("0006_sampled_maps.sql"))


def downgrade() -> None:
    _run("DROP VIEW dashboard.checks, dashboard.maps; ALTER TABLE susy.scans DROP COLUMN map_sampled")
    first = _text("0001_dashboard.sql")
    _run(first[first.index("CREATE VIEW dashboard.checks") : first.index("CREATE VIEW dashboard.review_queue")])
    _run(first[first.index("CREATE VIEW dashboard.maps") : first.index("CREATE VIEW dashboard.quarantine")])
    _run(_text("0003_dashboard.sql"))
    _run(_text("0004_dashboard.sql"))
    _run(_text("0001_dashboard_role.sql"))  # dropping a view drops its grants


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
