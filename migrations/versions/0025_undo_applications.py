"""An application of a policy to old checks can be undone as one.

A downgrade leaves the verdicts as they are, and forgets which applications undid which.
"""

from __future__ import annotations

from pathlib import Path

from migrations.views import restore_view, run

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP INDEX susy.ix_verdicts_application;
ALTER TABLE susy.verdicts DROP COLUMN restores;
ALTER TABLE susy.policy_applications DROP COLUMN undoes;
"""


def upgrade() -> None:
    run(_text("0025_undo_applications.sql"))


def downgrade() -> None:
    run(_view("0020_reviews.sql", "CREATE OR REPLACE VIEW dashboard.audit_log"))
    restore_view("dashboard.policy_applications", _view("0016_verdict_history.sql", "CREATE VIEW dashboard.policy_app"))
    restore_view("dashboard.verdicts", _view("0017_dashboards.sql", "CREATE VIEW dashboard.verdicts"))
    run(DOWNGRADE)
    run(_text("0001_dashboard_role.sql"))  # dropping a view drops its grants


def _view(name: str, start: str) -> str:
    script = _text(name)
    script = script[script.index(start) :]
    return script[: script.index(";") + 1]


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
