"""Scans keep the numbers of their map; `dashboard.localization` and `dashboard.regions` show them."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP VIEW dashboard.localization, dashboard.regions;
ALTER TABLE susy.scans DROP COLUMN map_x_edges, DROP COLUMN map_y_edges, DROP COLUMN map_scores;
"""


def upgrade() -> None:
    run(Path(__file__).with_name("0018_localization.sql").read_text(encoding="utf-8"))
    run(Path(__file__).with_name("0001_dashboard_role.sql").read_text(encoding="utf-8"))  # grants of the new views


def downgrade() -> None:
    run(DOWNGRADE)
