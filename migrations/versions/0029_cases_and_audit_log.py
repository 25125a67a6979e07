"""`dashboard.cases`, and an audit log whose latest entries are found by indexes."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_text("0029_cases_and_audit_log.sql"))


def downgrade() -> None:
    run("DROP VIEW dashboard.cases")
    script = _text("0025_undo_applications.sql")
    script = script[script.index("CREATE OR REPLACE VIEW dashboard.audit_log") :]
    run(script[: script.index(";") + 1])
    run("DROP INDEX susy.ix_cases_check_id; DROP INDEX susy.ix_reviews_single")


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
