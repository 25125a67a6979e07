"""Verdicts whose content was drawn for an audit say with which probability, and stand in the review queue."""

from __future__ import annotations

from pathlib import Path

from migrations.views import restore_view, run

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP INDEX susy.ix_verdicts_to_review;
CREATE INDEX ix_verdicts_to_review ON susy.verdicts (created_at)
WHERE mode = 'live' AND needs_review AND reviewed_at IS NULL;
ALTER TABLE susy.verdicts DROP COLUMN audit_rate;
COMMENT ON VIEW dashboard.review_queue IS 'Checks that need a review and have none, the oldest verdict first.';
"""


def upgrade() -> None:
    run(_text("0015_audits.sql"))


def downgrade() -> None:
    versions, reviews = _text("0014_source_versions.sql"), _text("0012_reviews.sql")
    checks = versions[versions.index("CREATE OR REPLACE VIEW") : versions.index("COMMENT ON")]
    queue = reviews[reviews.index("CREATE OR REPLACE VIEW dashboard.review_queue") : reviews.index("COMMENT ON")]
    restore_view("dashboard.checks", checks)
    restore_view("dashboard.review_queue", queue)
    run(DOWNGRADE)
    run(_text("0001_dashboard_role.sql"))


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
