"""Scans are identified by the precision of the network too; `dashboard.checks` shows it.

Earlier scans become `float32`, which is what a CPU computed. A GPU computed in another form of half precision, of which
the ledger has no record: where workers ran on one, nothing tells its scans apart.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE susy.scans ADD COLUMN precision text NOT NULL DEFAULT 'float32';
ALTER TABLE susy.scans
    ALTER COLUMN precision DROP DEFAULT,
    DROP CONSTRAINT uq_scans_content_sha256_weights_sha256_tiling,
    ADD CONSTRAINT uq_scans_content_sha256_weights_sha256_tiling_precision
        UNIQUE (content_sha256, weights_sha256, tiling, precision),
    ADD CONSTRAINT ck_scans_precision CHECK (precision IN ('float32', 'bfloat16', 'float16'));
"""
# Refused by the unique constraint when a content was measured in two precisions: one of them would have to be deleted.
DOWNGRADE = """
ALTER TABLE susy.scans
    DROP CONSTRAINT uq_scans_content_sha256_weights_sha256_tiling_precision,
    ADD CONSTRAINT uq_scans_content_sha256_weights_sha256_tiling UNIQUE (content_sha256, weights_sha256, tiling),
    DROP COLUMN precision;
"""


def upgrade() -> None:
    _run(UPGRADE)
    _run(_text("0007_dashboard.sql"))


def downgrade() -> None:
    _run("DROP VIEW dashboard.checks")
    views = _text("0001_dashboard.sql")
    _run(views[views.index("CREATE VIEW dashboard.checks") : views.index("CREATE VIEW dashboard.review_queue")])
    _run(_text("0003_dashboard.sql"))
    _run(_text("0004_dashboard.sql"))
    sampled = _text("0006_sampled_maps.sql")
    _run(sampled[sampled.index("CREATE OR REPLACE VIEW dashboard.checks") :])
    _run(_text("0001_dashboard_role.sql"))  # dropping a view drops its grants
    _run(DOWNGRADE)


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
