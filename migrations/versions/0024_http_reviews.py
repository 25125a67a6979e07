"""Everything that moderators and supervisors do is a function that the HTTP service may call; keys have `supervise`."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_text("0024_http_reviews.sql"))


def downgrade() -> None:
    run(_text("0024_downgrade.sql"))


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
