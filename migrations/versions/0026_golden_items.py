"""Golden items look like what waits in the queue: a verdict that asks for no review would give them away."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_text("0026_golden_items.sql"))


def downgrade() -> None:
    earlier = _text("0024_http_reviews.sql")
    begin = earlier.index("CREATE OR REPLACE FUNCTION susy.claim_review")
    run(earlier[begin : earlier.index("$$;", begin) + len("$$;")])


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
