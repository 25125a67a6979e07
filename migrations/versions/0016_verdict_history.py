"""Checks keep verdicts that were replaced, applications of policies are recorded, and scans have signals.

A downgrade deletes the verdicts that were replaced.
"""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP VIEW dashboard.policy_applications;
COMMENT ON COLUMN dashboard.callbacks.type IS 'What happened: image.verdict.created, image.check.quarantined, image.check.cancelled, image.check.expired or image.review.created.';
ALTER TABLE susy.scans DROP COLUMN signals;
ALTER TABLE susy.events DROP COLUMN previous_verdict_id;
DELETE FROM susy.verdicts WHERE mode = 'superseded';
ALTER TABLE susy.verdicts
    DROP COLUMN superseded_at,
    DROP COLUMN application_id,
    DROP CONSTRAINT ck_verdicts_mode,
    ADD CONSTRAINT ck_verdicts_mode CHECK (mode IN ('live', 'shadow')),
    ADD CONSTRAINT uq_verdicts_check_id_policy_name_policy_version UNIQUE (check_id, policy_name, policy_version);
DROP TABLE susy.policy_applications;
"""  # noqa: E501


def upgrade() -> None:
    run(Path(__file__).with_name("0016_verdict_history.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    run(DOWNGRADE)
