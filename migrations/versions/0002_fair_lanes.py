"""Indexes that order waiting checks by source, so that none starves another; indexes for the backlog commands."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE INDEX ix_checks_waiting_live ON susy.checks (source, next_attempt_at)
    WHERE state = 'queued' AND dispatched_at IS NULL AND lane = 'live';
CREATE INDEX ix_checks_waiting_backfill ON susy.checks (source, next_attempt_at)
    WHERE state = 'queued' AND dispatched_at IS NULL AND lane = 'backfill';
CREATE INDEX ix_checks_dispatched ON susy.checks (lane, dispatched_at)
    WHERE state = 'queued' AND dispatched_at IS NOT NULL;
CREATE INDEX ix_checks_cancelled ON susy.checks (finished_at) WHERE state = 'cancelled';
CREATE INDEX ix_checks_done ON susy.checks (lane, finished_at) WHERE state = 'done';
DROP INDEX susy.ix_checks_due;
ALTER TABLE susy.checks SET (autovacuum_vacuum_insert_scale_factor = 0.02);
"""

DOWNGRADE = """
CREATE INDEX ix_checks_due ON susy.checks (lane, coalesce(dispatched_at, '-infinity'::timestamptz), next_attempt_at)
    WHERE state = 'queued';
DROP INDEX susy.ix_checks_waiting_live, susy.ix_checks_waiting_backfill, susy.ix_checks_dispatched,
    susy.ix_checks_cancelled, susy.ix_checks_done;
ALTER TABLE susy.checks RESET (autovacuum_vacuum_insert_scale_factor);
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(UPGRADE, execution_options={"no_parameters": True})


def downgrade() -> None:
    op.get_bind().exec_driver_sql(DOWNGRADE, execution_options={"no_parameters": True})
