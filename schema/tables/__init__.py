"""The ledger's tables in their present form. Private: dashboards read the views of `schema/dashboard.sql`.

`migrations/` leads to this schema; a test compares the two. Enumerations are text with a CHECK rather than enum types,
because a CHECK can be replaced inside a transaction, and a value can be removed.

Reading order:

1. `base`: what every table is made with.
2. A check and its result: `checks`, `scans`, `policies`, `verdicts`.
3. People: `reviews`, `review_queue`, `operations`.
4. Other systems: `callbacks`, `hooks`.
5. `statements`: storage parameters and triggers, which SQLAlchemy cannot declare.
"""

from schema.tables import (
    callbacks,
    checks,
    hooks,
    operations,
    policies,
    review_queue,
    reviews,
    scans,
    statements,
    verdicts,
)
from schema.tables.base import SCHEMA, metadata

__all__ = [
    "SCHEMA",
    "callbacks",
    "checks",
    "hooks",
    "metadata",
    "operations",
    "policies",
    "review_queue",
    "reviews",
    "scans",
    "statements",
    "verdicts",
]
