"""The HTTP service lists and counts the review queue."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(Path(__file__).with_name("0034_review_queue.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    run("DROP FUNCTION susy.list_review_queue, susy.count_review_queue, susy.listed_conditions")
    run("DROP INDEX susy.ix_review_items_age")
