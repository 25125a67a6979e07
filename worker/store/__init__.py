"""The ledger in Postgres: every check, scan, verdict and policy."""

from worker.store.store import Store
from worker.store.types import (
    BacklogStatus,
    CheckDetails,
    CheckFilter,
    Claim,
    Failure,
    LaneBacklog,
    LaneStatus,
    QuarantineCount,
    Receipt,
    ReclaimResult,
    RecordOutcome,
    WorkerActivity,
)

__all__ = [
    "BacklogStatus",
    "CheckDetails",
    "CheckFilter",
    "Claim",
    "Failure",
    "LaneBacklog",
    "LaneStatus",
    "QuarantineCount",
    "Receipt",
    "ReclaimResult",
    "RecordOutcome",
    "Store",
    "WorkerActivity",
]
