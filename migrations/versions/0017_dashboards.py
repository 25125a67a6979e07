"""Views of the verdicts' history, of counts per minute and day, and of the audit log; the contract's version.

What was decided before is counted here. What operators did before is not in the audit log, except policies and reviews.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP VIEW dashboard.verdicts, dashboard.throughput_by_minute, dashboard.decisions_by_source_day,
    dashboard.generators_by_day, dashboard.audit_log;
DROP FUNCTION dashboard.version();
DROP TRIGGER verdicts_count_new ON susy.verdicts;
DROP TRIGGER verdicts_count_changed ON susy.verdicts;
DROP TRIGGER api_keys_note_new ON susy.api_keys;
DROP TRIGGER api_keys_note_revoked ON susy.api_keys;
DROP TRIGGER endpoints_note_new ON susy.endpoints;
DROP TRIGGER endpoints_note_disabled ON susy.endpoints;
DROP TRIGGER endpoint_keys_note_rotated ON susy.endpoint_keys;
DROP TRIGGER paused_lanes_note ON susy.paused_lanes;
DROP FUNCTION susy.count_new_decisions(), susy.count_changed_decisions(), susy.note_key(), susy.note_endpoint(),
    susy.note_endpoint_key(), susy.note_lane();
DROP TABLE susy.decision_counts, susy.decision_changes, susy.operations;
DROP INDEX susy.ix_reviews_created_at, susy.ix_checks_quarantined_at;
"""


def upgrade() -> None:
    _run(Path(__file__).with_name("0017_dashboards.sql").read_text(encoding="utf-8"))
    _run(Path(__file__).with_name("0017_comments.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    _run(DOWNGRADE)


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
