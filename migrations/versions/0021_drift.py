"""Counts per day say what measured and have a histogram of scores; `dashboard.drift` compares weeks of them.

What was counted before is counted again from the verdicts; checks that were deleted meanwhile are not in it any more.
"""

from __future__ import annotations

from pathlib import Path

from migrations.views import run

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

DOWNGRADE = """
DROP VIEW dashboard.drift, susy.decision_categories;
CREATE TEMPORARY TABLE folded ON COMMIT DROP AS
SELECT day, source, policy_name, is_demo, decision, generator, sum(checks) AS checks, sum(needs_review) AS needs_review
FROM (
    SELECT day, source, policy_name, is_demo, decision, generator, checks, needs_review FROM susy.decision_counts
    UNION ALL
    SELECT day, source, policy_name, is_demo, decision, generator, checks, needs_review FROM susy.decision_changes
) AS counted
GROUP BY day, source, policy_name, is_demo, decision, generator;
TRUNCATE susy.decision_changes, susy.decision_counts;
ALTER TABLE susy.decision_changes
    DROP COLUMN policy_version, DROP COLUMN weights_sha256, DROP COLUMN precision, DROP COLUMN tiling,
    DROP COLUMN score_bin;
ALTER TABLE susy.decision_counts
    DROP CONSTRAINT pk_decision_counts,
    DROP COLUMN policy_version, DROP COLUMN weights_sha256, DROP COLUMN precision, DROP COLUMN tiling,
    DROP COLUMN score_bin,
    ADD CONSTRAINT pk_decision_counts PRIMARY KEY (day, source, policy_name, is_demo, decision, generator);
INSERT INTO susy.decision_counts (day, source, policy_name, is_demo, decision, generator, checks, needs_review)
SELECT * FROM folded;
DROP TABLE folded;
DROP FUNCTION susy.chi_squared_tail, susy.score_bin;
"""


def upgrade() -> None:
    run(Path(__file__).with_name("0021_drift.sql").read_text(encoding="utf-8"))
    run(Path(__file__).with_name("0001_dashboard_role.sql").read_text(encoding="utf-8"))  # the grants of the new view


def downgrade() -> None:
    counts = Path(__file__).with_name("0017_dashboards.sql").read_text(encoding="utf-8")
    functions = counts[
        counts.index("CREATE FUNCTION susy.count_new") : counts.index("CREATE TRIGGER verdicts_count_new")
    ]
    run(functions.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    run(DOWNGRADE)
