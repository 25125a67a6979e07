"""Checks keep which version of their image was submitted, and which was examined; `dashboard.checks` shows both."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _run(_text("0014_source_versions.sql"))


def downgrade() -> None:
    _run(_text("0014_downgrade.sql"))
    _run(_text("0001_dashboard_role.sql"))  # dropping a view drops its grants


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
