"""Moderators record reviews by `dashboard.record_review`; the views show what they override.

Earlier reviews get the content of their check.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP FUNCTION dashboard.record_review;
DROP VIEW dashboard.checks, dashboard.review_queue;
DROP INDEX susy.ix_reviews_content_sha256;
ALTER TABLE susy.reviews DROP COLUMN content_sha256;
"""


def upgrade() -> None:
    _run(_text("0012_reviews.sql"))


def downgrade() -> None:
    _run(DOWNGRADE)
    views = _text("0001_dashboard.sql")
    _run(views[views.index("CREATE VIEW dashboard.checks") : views.index("CREATE VIEW dashboard.maps")])
    _run(_text("0003_dashboard.sql"))
    _run(_text("0004_dashboard.sql"))
    sampled, expiry = _text("0006_sampled_maps.sql"), _text("0009_expiry.sql")
    _run(sampled[sampled.index("CREATE OR REPLACE VIEW dashboard.checks") :])
    _run(_text("0007_dashboard.sql"))
    _run(expiry[expiry.index("CREATE OR REPLACE VIEW dashboard.checks") :])
    _run(_text("0001_dashboard_role.sql"))  # dropping a view drops its grants


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
