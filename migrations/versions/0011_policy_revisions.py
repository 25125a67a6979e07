"""The configuration of the policies is kept in the ledger, in numbered revisions; `dashboard` shows them."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _run(Path(__file__).with_name("0011_policy_revisions.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    _run("DROP VIEW dashboard.policies, dashboard.policy_history, dashboard.shadow_differences")
    _run("DROP INDEX susy.ix_verdicts_shadow; DROP TABLE susy.policy_revisions")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
