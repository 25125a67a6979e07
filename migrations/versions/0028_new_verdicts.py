"""New verdicts cost less: they are counted and queued for review without what only replaced ones need."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_text("0028_new_verdicts.sql"))


def downgrade() -> None:
    drift, reviews = _text("0021_drift.sql"), _text("0020_reviews.sql")
    run(
        _part(
            drift,
            "CREATE OR REPLACE FUNCTION susy.count_new_decisions",
            "CREATE OR REPLACE FUNCTION susy.count_changed",
        )
    )
    run("DROP TRIGGER verdicts_refresh_items_inserted ON susy.verdicts; DROP FUNCTION susy.queue_new_verdicts")
    refresh = _part(
        reviews, "CREATE FUNCTION susy.refresh_after_verdicts", "CREATE TRIGGER verdicts_refresh_items_updated"
    )
    run(refresh.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    run(
        _part(
            reviews, "COMMENT ON FUNCTION susy.refresh_after_verdicts", "COMMENT ON FUNCTION susy.refresh_after_reviews"
        )
    )


def _part(script: str, begin: str, end: str) -> str:
    rest = script[script.index(begin) :]
    return rest[: rest.index(end)]


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
