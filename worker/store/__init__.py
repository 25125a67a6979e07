"""The ledger in Postgres: every check, scan, verdict and policy."""

from worker.store.store import Store
from worker.store.types import (
    CheckView,
    Claim,
    Failure,
    Freed,
    LaneBacklog,
    QuarantineCount,
    Receipt,
    RecordOutcome,
    StoredScan,
)

__all__ = [
    "CheckView",
    "Claim",
    "Failure",
    "Freed",
    "LaneBacklog",
    "QuarantineCount",
    "Receipt",
    "RecordOutcome",
    "Store",
    "StoredScan",
]
