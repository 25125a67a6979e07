"""The ledger in Postgres: every check, scan, verdict and policy."""

from worker.store.store import Store
from worker.store.types import (
    BacklogStatus,
    CheckView,
    Choice,
    Claim,
    Failure,
    Freed,
    LaneBacklog,
    LaneStatus,
    QuarantineCount,
    Receipt,
    RecordOutcome,
    StoredScan,
)

__all__ = [
    "BacklogStatus",
    "CheckView",
    "Choice",
    "Claim",
    "Failure",
    "Freed",
    "LaneBacklog",
    "LaneStatus",
    "QuarantineCount",
    "Receipt",
    "RecordOutcome",
    "Store",
    "StoredScan",
]
