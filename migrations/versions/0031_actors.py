"""The audit log names the person who ran a command and the key of a request, beside the database's login."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

DOWNGRADE = """
ALTER TABLE susy.operations ALTER COLUMN actor SET DEFAULT SESSION_USER, DROP COLUMN login;
"""


def upgrade() -> None:
    run(_text("0031_actors.sql"))


def downgrade() -> None:
    script = _text("0029_cases_and_audit_log.sql")
    script = script[script.index("CREATE OR REPLACE VIEW dashboard.audit_log") :]
    run(script[: script.index("FROM susy.operations;") + len("FROM susy.operations;")])
    run(DOWNGRADE)


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
