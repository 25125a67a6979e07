"""Whether sources have stopped sending: `dashboard.arrivals`, and rows of `dashboard.drift`."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP VIEW dashboard.drift, dashboard.arrivals;
ALTER VIEW susy.drift_comparisons RENAME TO drift;
ALTER VIEW susy.drift SET SCHEMA dashboard;
DROP INDEX susy.ix_checks_source_created_at;
"""


def upgrade() -> None:
    run(_text("0032_arrivals.sql"))


def downgrade() -> None:
    run(DOWNGRADE)
    run(_text("0001_dashboard_role.sql"))  # the grants of the view that has moved back


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
