"""Old checks may be pruned; how often people agree with policies; `dashboard.backlog` reads indexes alone."""

from __future__ import annotations

from pathlib import Path

from migrations.views import restore_view, run

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP VIEW dashboard.policy_agreement;
DROP INDEX susy.ix_reviews_day, susy.ix_checks_created_at;
CREATE INDEX ix_checks_created_at ON susy.checks (created_at);
CREATE OR REPLACE FUNCTION susy.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'susy.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END
    $$;
ALTER TABLE susy.reviews RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE susy.scans RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE susy.verdicts RESET (autovacuum_vacuum_scale_factor);
"""


def upgrade() -> None:
    run(_text("0022_prune.sql"))


def downgrade() -> None:
    run(DOWNGRADE)
    expiry = _text("0009_expiry.sql")
    script = expiry[expiry.index("CREATE OR REPLACE VIEW dashboard.backlog") :]
    restore_view("dashboard.backlog", script[: script.index(";") + 1])
    run(_text("0001_dashboard_role.sql"))  # dropping a view drops its grants


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
