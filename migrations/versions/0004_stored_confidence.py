"""Verdicts store how certain the recognition of their generator is; the views no longer compute it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Earlier verdicts get the value that the views showed for them.
UPGRADE = """
ALTER TABLE susy.verdicts ADD COLUMN generator_confidence double precision;
UPDATE susy.verdicts AS v SET generator_confidence = (
    SELECT round(least(1, max(p.probability::double precision) / nullif(v.score, 0))::numeric, 4)::double precision
    FROM jsonb_each_text(v.class_scores) AS p (class, probability) WHERE p.class <> s.classes[1]
)
FROM susy.scans AS s WHERE s.id = v.scan_id AND v.generator IS NOT NULL;
ALTER TABLE susy.verdicts
    ADD CONSTRAINT ck_verdicts_generator_confidence CHECK (generator_confidence BETWEEN 0 AND 1),
    ADD CONSTRAINT ck_verdicts_confidence_has_generator
        CHECK (generator_confidence IS NULL OR generator IS NOT NULL);
"""


def upgrade() -> None:
    _run(UPGRADE)
    _run(_text("0004_dashboard.sql"))


def downgrade() -> None:
    _run(_text("0003_dashboard.sql"))
    _run("ALTER TABLE susy.verdicts DROP COLUMN generator_confidence")


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
