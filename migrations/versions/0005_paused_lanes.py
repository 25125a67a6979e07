"""Operators pause lanes in the ledger; `dashboard.backlog` shows it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _run(_text("0005_paused_lanes.sql"))


def downgrade() -> None:
    _run("DROP VIEW dashboard.backlog; DROP TABLE susy.paused_lanes")
    views = _text("0001_dashboard.sql")
    _run(views[views.index("CREATE VIEW dashboard.backlog") : views.index("CREATE VIEW dashboard.reviews")])
    _run(_text("0001_dashboard_role.sql"))  # dropping a view drops its grants


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
