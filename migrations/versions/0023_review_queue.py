"""Pages of `dashboard.review_queue` are found by the index of its order."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_text("0023_review_queue.sql"))


def downgrade() -> None:
    reviews = _text("0020_reviews.sql")
    script = reviews[reviews.index("CREATE OR REPLACE VIEW dashboard.review_queue") :]
    run(script[: script.index(";") + 1])


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
