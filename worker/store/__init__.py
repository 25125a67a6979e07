"""The ledger in Postgres: every check, scan, verdict and policy.

Reading order: `queries.sql` (every statement, in the order of a check's life), `store` (the operations), `recording`
and `scans` (the transaction that ends a check), `events` (what is read of it, by `queries_callbacks.sql`), `policies`
(what decides) and `applications` (deciding again), `reviews` and `reviewed` (what people decided), `cases` (the
regression set), `drift` (what is compared over time), `keys` (of the HTTP service), `types` (what goes in and comes
out), then `database`, `dsn`, `errors` (connections) and `migrate`.
"""

from schema.messages import Receipt
from worker.store.events import Event
from worker.store.keys import ApiKey
from worker.store.store import Store
from worker.store.types import (
    BacklogStatus,
    CategoryCount,
    CheckDetails,
    CheckFilter,
    Claim,
    DecidedScan,
    DriftGroup,
    Failure,
    LaneStatus,
    PolicyChange,
    PolicyRevision,
    QuarantineCount,
    ReclaimResult,
    RecordOutcome,
    Replacement,
    StoredPolicy,
    WorkerActivity,
)

__all__ = [
    "ApiKey",
    "BacklogStatus",
    "CategoryCount",
    "CheckDetails",
    "CheckFilter",
    "Claim",
    "DecidedScan",
    "DriftGroup",
    "Event",
    "Failure",
    "LaneStatus",
    "PolicyChange",
    "PolicyRevision",
    "QuarantineCount",
    "Receipt",
    "ReclaimResult",
    "RecordOutcome",
    "Replacement",
    "Store",
    "StoredPolicy",
    "WorkerActivity",
]
