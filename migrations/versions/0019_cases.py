"""What a person overrides becomes a case, by which policies and weights are compared before they decide."""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(Path(__file__).with_name("0019_cases.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    run("DROP TRIGGER reviews_add_case ON susy.reviews; DROP FUNCTION susy.add_case; DROP TABLE susy.cases;")
