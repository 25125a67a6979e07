"""The ledger in Postgres: every check, scan, verdict and policy.

Reading order:

1. `queries.sql` (every statement, in the order of a check's life; `queries` reads it), `store` (the operations), and
   `submitting` (the first of them).
2. The end of a check: `recording` and `scans` (the transaction), `events` (what is read of it), `callbacks`.
3. What decides: `policies`, `applications` (deciding again), `cases` (the regression set), `drift` (two periods
   compared, and sources that have stopped).
4. What people decide: `review_queue` (what waits), `claims` (who reviews what), `reviews`, and `reviewed` (as labels of
   scans).
5. `keys` (of the HTTP service), `hooks` (what is remembered of object storage), `pruning` (what ended long ago).
6. `types` and `documents` (what goes in and comes out), `from_rows` and `text` (how it is read and written).
7. Connections: `database`, `connection`, `errors`, `migrate`.
"""

from schema.messages import Receipt
from worker.store.events import Event
from worker.store.keys import ApiKey
from worker.store.store import Store
from worker.store.types import (
    Application,
    AppliedVerdict,
    Arrivals,
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
    "Application",
    "AppliedVerdict",
    "Arrivals",
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
