"""The dashboards' views show the confidence in a generator, and that it is unknown."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _run(_text("0003_dashboard.sql"))


def downgrade() -> None:
    op.execute("DROP VIEW dashboard.checks, dashboard.review_queue")
    changed, _, _unchanged = _text("0001_dashboard.sql").partition("CREATE VIEW dashboard.maps")
    _run(changed)
    _run(_text("0001_dashboard_role.sql"))  # dropping a view drops its grants


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
