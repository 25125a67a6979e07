"""The first tables, the dashboards' views and their role.

Written as SQL, which does not change when `schema.tables` does.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _run("0001_tables.sql")
    # An administrator may have created the schema for a user who may not.
    if op.get_bind().exec_driver_sql("SELECT to_regnamespace('dashboard')").scalar() is None:
        op.execute("CREATE SCHEMA dashboard")
    _run("0001_dashboard.sql")
    _run("0001_dashboard_role.sql")


def downgrade() -> None:
    _run("0001_downgrade.sql")


def _run(name: str) -> None:
    script = Path(__file__).with_name(name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
