"""Checks may have a deadline, and end as `expired` when no worker has begun them before it.

Going back makes expired checks cancelled ones, which the version before can requeue too.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP VIEW dashboard.checks, dashboard.backlog;
DROP INDEX susy.ix_checks_expiring, susy.ix_checks_expired;
ALTER TABLE susy.checks DROP CONSTRAINT ck_checks_expired_has_deadline;
ALTER TABLE susy.checks DISABLE TRIGGER checks_add_event;
UPDATE susy.checks SET state = 'cancelled' WHERE state = 'expired';
ALTER TABLE susy.checks ENABLE TRIGGER checks_add_event;
ALTER TABLE susy.checks
    DROP COLUMN expires_at,
    DROP CONSTRAINT ck_checks_state,
    ADD CONSTRAINT ck_checks_state CHECK (state IN ('queued', 'running', 'done', 'quarantined', 'cancelled')),
    DROP CONSTRAINT ck_checks_finished_has_time,
    ADD CONSTRAINT ck_checks_finished_has_time
        CHECK ((state IN ('done', 'quarantined', 'cancelled')) = (finished_at IS NOT NULL));
"""


def upgrade() -> None:
    _run(_text("0009_expiry.sql"))


def downgrade() -> None:
    _run(DOWNGRADE)
    views = _text("0001_dashboard.sql")
    _run(views[views.index("CREATE VIEW dashboard.checks") : views.index("CREATE VIEW dashboard.review_queue")])
    _run(_text("0003_dashboard.sql"))
    _run(_text("0004_dashboard.sql"))
    sampled, paused = _text("0006_sampled_maps.sql"), _text("0005_paused_lanes.sql")
    _run(sampled[sampled.index("CREATE OR REPLACE VIEW dashboard.checks") :])
    _run(_text("0007_dashboard.sql"))
    _run(views[views.index("CREATE VIEW dashboard.backlog") : views.index("CREATE VIEW dashboard.reviews")])
    _run(paused[paused.index("CREATE OR REPLACE VIEW dashboard.backlog") :])
    comments = _text("0008_dashboard.sql")
    _run(next(line for line in comments.splitlines() if line.startswith("COMMENT ON COLUMN dashboard.callbacks.type")))
    _run(_text("0001_dashboard_role.sql"))  # dropping a view drops its grants


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
