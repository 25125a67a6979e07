"""Reviews can be undone and made in bulk; the review queue is a table from which moderators claim checks.

Adds double reviews, golden items, and the views of agreement and accuracy. Going back lets reviews that
were undone count again.
"""

from __future__ import annotations

from pathlib import Path

from migrations.views import restore_view, run

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

REMOVE = """
DROP FUNCTION
    dashboard.decide_claim, dashboard.undo_review, dashboard.claim_next_review, dashboard.extend_claim,
    dashboard.skip_claim, dashboard.release_claim, dashboard.claimed_map;
DROP VIEW
    dashboard.double_reviews, dashboard.reviewer_agreement, dashboard.reviewer_accuracy, dashboard.review_claims;
DROP FUNCTION susy.reviewer_agreement, susy.record_decision;
DROP FUNCTION susy.claim_conditions, susy.held_claim, susy.expire_claims, susy.undo_reviews;
DROP TRIGGER undone_reviews_add_event ON susy.undone_reviews;
DROP TRIGGER undone_reviews_refresh_items ON susy.undone_reviews;
DROP TRIGGER golden_changes_refresh_items ON susy.golden_changes;
DROP TRIGGER reviews_refresh_items ON susy.reviews;
DROP TRIGGER verdicts_refresh_items_inserted ON susy.verdicts;
DROP TRIGGER verdicts_refresh_items_updated ON susy.verdicts;
DROP FUNCTION
    susy.add_undo_event, susy.refresh_after_reviews, susy.refresh_after_verdicts, susy.refresh_review_items,
    susy.reach_of, susy.review_rate, susy.draws;
DROP VIEW susy.counted_reviews, susy.double_reviews, susy.golden_items;
DROP TABLE susy.golden_answers, susy.golden_changes, susy.review_claims, susy.open_claims, susy.review_items;
DROP TABLE susy.undone_reviews, susy.review_undos;
ALTER TABLE susy.reviews DROP COLUMN batch_id;
DROP TABLE susy.review_batches;
DELETE FROM susy.events WHERE type = 'image.review.undone';
CREATE INDEX ix_verdicts_to_review ON susy.verdicts (created_at)
WHERE mode = 'live' AND (needs_review OR audit_rate IS NOT NULL) AND reviewed_at IS NULL;
"""


def upgrade() -> None:
    run(_text("0020_reviews.sql"))


def downgrade() -> None:
    audits, first = _text("0015_audits.sql"), _text("0001_dashboard.sql")
    reviews, dashboards = _text("0012_reviews.sql"), _text("0017_dashboards.sql")
    tables = _text("0001_tables.sql")
    run(_part(audits, "CREATE OR REPLACE VIEW dashboard.checks", "CREATE OR REPLACE VIEW dashboard.review_queue"))
    restore_view("dashboard.review_queue", _part(audits, "CREATE OR REPLACE VIEW dashboard.review_queue", "COMMENT ON"))
    run(_part(audits, "COMMENT ON VIEW dashboard.review_queue", ""))
    restore_view("dashboard.reviews", _part(first, "CREATE VIEW dashboard.reviews", "COMMENT ON"))
    audit_log = _part(dashboards, "CREATE VIEW dashboard.audit_log", "COMMENT ON VIEW")
    run(audit_log.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
    record_review = _part(reviews, "CREATE FUNCTION dashboard.record_review", "REVOKE ALL")
    run(record_review.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    run(REMOVE)
    run(_part(tables, "CREATE FUNCTION susy.mark_reviewed", ""))
    run(_text("0001_dashboard_role.sql"))


def _part(script: str, begin: str, end: str) -> str:
    """The text of a script from one that occurs in it to the next occurrence of another, or to its end."""
    rest = script[script.index(begin) :]
    return rest[: rest.index(end)] if end else rest


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
