"""The ledger in Postgres: every check, scan, verdict and policy."""

from worker.store.store import Store
from worker.store.types import (
    BacklogStatus,
    CheckFilter,
    CheckView,
    Claim,
    Failure,
    LaneBacklog,
    LaneStatus,
    QuarantineCount,
    Receipt,
    ReclaimResult,
    RecordOutcome,
)

__all__ = [
    "BacklogStatus",
    "CheckFilter",
    "CheckView",
    "Claim",
    "Failure",
    "LaneBacklog",
    "LaneStatus",
    "QuarantineCount",
    "Receipt",
    "ReclaimResult",
    "RecordOutcome",
    "Store",
]
