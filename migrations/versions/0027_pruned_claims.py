"""A claim passes over a check that is being pruned. The view of drift leaves out what has no checks left in a week."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_text("0027_pruned_claims.sql"))


def downgrade() -> None:
    run(_text("0026_golden_items.sql"))
    drift = _text("0021_drift.sql")
    view = drift[drift.index("CREATE VIEW dashboard.drift") : drift.index("COMMENT ON VIEW dashboard.drift")]
    run(view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
