"""The functions of claims keep their plans between calls."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

CHANGED = ("susy.claim_ended_by", "susy.shown_claims", "dashboard.claim_next_review", "dashboard.held_claims")


def upgrade() -> None:
    run(_text("0030_claim_plans.sql"))


def downgrade() -> None:
    earlier = _text("0024_http_reviews.sql")
    for name in CHANGED:
        begin = earlier.index(f"CREATE OR REPLACE FUNCTION {name}")
        run(earlier[begin : earlier.index("$$;", begin) + len("$$;")])


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
