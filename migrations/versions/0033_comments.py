"""Comments on tables, views, columns and functions, in plain sentences."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_text("0033_comments.sql"))


def downgrade() -> None:
    run(_text("0033_downgrade.sql"))


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
