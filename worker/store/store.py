"""The ledger: every way in which checks are accepted, held, ended, put back and looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from uuid_utils.compat import uuid7

from schema.examination import Examination, StoredScan
from schema.messages import Submission
from schema.scan import Tiling
from schema.states import CheckState, Decision, Lane
from worker.errors import ErrorCode, PermanentError
from worker.store import backlog, backlog_queries, queries
from worker.store.database import Database
from worker.store.locks import LEADER_LOCK
from worker.store.reading import show
from worker.store.recording import record
from worker.store.scans import stored_scan
from worker.store.submissions import submit_each, submit_many, submit_one
from worker.store.types import (
    BacklogStatus,
    CheckFilter,
    CheckView,
    Claim,
    LaneBacklog,
    QuarantineCount,
    Receipt,
    ReclaimResult,
    RecordOutcome,
)

DEADLY = [str(code) for code in (ErrorCode.LEASE_EXPIRED, ErrorCode.DEADLINE_EXCEEDED)]
"""Ends of an attempt after which the image may be what ends or hangs processes."""
MAX_ERROR_MESSAGE = 2000
"""Characters of a failure's message that are kept."""
MAX_REJECTED_BODY = 4096
"""Bytes of a malformed message that are kept."""


class Store:
    """The ledger in one Postgres. Safe to share between threads.

    Every method raises `TransientError(DATABASE_UNAVAILABLE)` when Postgres is away, within `timeout` seconds, and
    `SetupError(DATABASE_OUTDATED)` when it lacks a migration.
    """

    def __init__(self, database_url: str, *, pool_size: int, timeout: float = 10.0) -> None:
        self._database = Database(database_url, pool_size=pool_size, timeout=timeout)

    def open(self) -> None:
        """Start connecting in the background. Postgres need not be there yet."""
        self._database.open()

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def ping(self) -> None:
        """Return when Postgres answers."""
        self._database.count(queries.PING, {})

    # --- Submitting

    def submit(self, submission: Submission) -> Receipt:
        """Accept one submission. Raises `PermanentError(CONFLICT)` when its key was accepted for another image."""
        return submit_one(self._database, submission)

    def submit_many(self, submissions: Iterable[Submission]) -> list[Receipt]:
        """Accept all, or, raising `PermanentError(CONFLICT)`, none: one transaction, for some thousands at a time."""
        return submit_many(self._database, submissions)

    def submit_each(self, submissions: Iterable[Submission]) -> list[Receipt | PermanentError]:
        """Accept all that do not contradict what was accepted before; for the others, the reason why not."""
        return submit_each(self._database, submissions)

    def mark_dispatched(self, check_ids: Iterable[UUID]) -> None:
        """Note that these checks' messages are in the queue now."""
        self._database.count(queries.MARK_DISPATCHED, {"check_ids": list(check_ids)})

    def reject_message(self, task: str, body: str | bytes, *, code: ErrorCode, message: str) -> None:
        """Keep what is left of a message that no check could be made of."""
        values = {"task": _storable(task), "body": _cut(body), "code": str(code), "message": _short(message)}
        self._database.count(queries.REJECT_MESSAGE, values)

    # --- Holding a lease

    def claim(
        self, check_id: UUID, *, worker: str, lease: float, max_attempts: int, suspects: bool = True
    ) -> Claim | None:
        """Begin an attempt, if the check is due or its holder went silent, and attempts are left.

        Without `suspects`, a check is left alone whose last attempt may have ended its process (`is_suspect`).
        """
        values = {
            "check_id": check_id,
            "worker": worker,
            "lease": lease,
            "max_attempts": max_attempts,
            "suspects": suspects,
            "deadly": DEADLY,
        }
        return self._database.row(queries.CLAIM, values, _claim)

    def is_suspect(self, check_id: UUID) -> bool:
        """Whether the check is due and its last attempt may have ended the process it ran in."""
        return bool(self._database.scalars(queries.IS_SUSPECT, {"check_id": check_id, "deadly": DEADLY})[0])

    def renew(self, claim: Claim, lease: float) -> bool:
        """Extend the lease to `lease` seconds from now; False when it is no longer ours."""
        return bool(self.renew_many([claim], lease))

    def renew_many(self, claims: Iterable[Claim], lease: float) -> frozenset[UUID]:
        """Extend many leases at once; the ids of the checks that are still ours."""
        held = list(claims)
        values = {
            "check_ids": [claim.check_id for claim in held],
            "lease_tokens": [claim.lease_token for claim in held],
            "lease": lease,
        }
        return frozenset(self._database.scalars(queries.RENEW, values))

    def release(self, claim: Claim) -> bool:
        """Give the check back as if it had not been claimed; False when it was no longer ours."""
        return self._with_lease(queries.RELEASE, claim)

    def fail(self, claim: Claim, *, code: ErrorCode, message: str, retry_in: float | None) -> bool:
        """End the attempt: try again in `retry_in` seconds, or, with None, quarantine. False when no longer ours."""
        failure = {"code": str(code), "message": _short(message)}
        if retry_in is None:
            return self._with_lease(queries.QUARANTINE, claim, **failure)
        return self._with_lease(queries.RETRY_LATER, claim, retry_in=retry_in, **failure)

    # --- Recording

    def find_scan(self, content_sha256: str, weights_sha256: str, tiling: Tiling) -> StoredScan | None:
        """The scan of this content by these weights under this tiling, if there is one."""
        key = {"content_sha256": content_sha256, "weights_sha256": weights_sha256, "tiling": str(tiling)}
        return self._database.row(queries.FIND_SCAN, key, stored_scan)

    def record(self, claim: Claim, examination: Examination) -> RecordOutcome:
        """End the check with this verdict in one transaction, if the lease is still ours."""
        return record(self._database, claim, examination)

    def add_review(self, check_id: UUID, *, reviewer: str, decision: Decision, note: str | None = None) -> None:
        """Keep what a person decided about a check; it can be added to, never changed."""
        values = {"id": uuid7(), "check_id": check_id, "reviewer": reviewer, "decision": str(decision), "note": note}
        self._database.count(queries.ADD_REVIEW, values)

    # --- Reconciling

    @contextmanager
    def lead(self) -> Iterator[bool]:
        """Try to be the one that reconciles; yields whether we are.

        Hold it for one round, not for good: should its connection break, another may lead as well. No step harms
        when two lead, each locks what it changes.
        """
        with self._database.holding(LEADER_LOCK) as leading:
            yield leading

    def reclaim_expired(self, *, max_attempts: int, limit: int) -> ReclaimResult:
        """Requeue checks whose holder went silent, and quarantine those that have used up their attempts."""
        values = {"max_attempts": max_attempts, "limit": limit, "code": str(ErrorCode.LEASE_EXPIRED)}
        states = Counter(self._database.scalars(queries.RECLAIM_EXPIRED, values))
        return ReclaimResult(requeued=states[CheckState.QUEUED], quarantined=states[CheckState.QUARANTINED])

    def take_due(self, lane: Lane, *, limit: int) -> list[UUID]:
        """Mark up to `limit` due checks as dispatched, to be published by the caller in this order.

        One of each source in turn, a source's oldest first, so that no source waits for another's flood. May take
        fewer than there are; an empty answer means that nothing is left.
        """
        return self._database.scalars(backlog_queries.TAKE_DUE[lane], {"limit": limit})

    def forget_dispatched(self, lane: Lane, *, age: float, limit: int) -> int:
        """Let checks whose messages were sent `age` seconds ago, and are lost, wait for their turn again; how many."""
        return self._database.count(backlog_queries.FORGET_DISPATCHED, {"lane": str(lane), "age": age, "limit": limit})

    # --- Operating

    def now(self) -> datetime:
        """The database's clock, which all times in the ledger come from."""
        moment: datetime = self._database.scalars(backlog_queries.NOW, {})[0]
        return moment

    def count(self, state: CheckState, choice: CheckFilter) -> int:
        """How many checks in this state are chosen."""
        return backlog.count(self._database, state, choice)

    def requeue(self, state: CheckState, choice: CheckFilter, *, limit: int = 1000) -> int:
        """Queue chosen checks that were quarantined or cancelled again, with all their attempts; how many."""
        return backlog.requeue(self._database, state, choice, limit)

    def cancel(self, choice: CheckFilter, *, limit: int = 1000) -> int:
        """Take queued checks back, so that they are never looked at; how many. What runs is left to finish."""
        return backlog.cancel(self._database, choice, limit)

    def status(self) -> BacklogStatus:
        """What waits, how fast it drains and what was set aside. Long lanes are estimated, so that it is quick."""
        return backlog.status(self._database)

    def analyze(self) -> None:
        """Tell Postgres to look at the table again, after many checks came at once."""
        self._database.count(backlog_queries.ANALYZE, {})

    def show(self, check_id: UUID) -> CheckView:
        """Everything about one check. Raises `PermanentError(UNKNOWN_CHECK)`."""
        return show(self._database, check_id)

    def backlog(self) -> list[LaneBacklog]:
        """What waits, lane by lane, `live` first, as dashboards see it: every check is counted."""
        return self._database.rows(backlog_queries.BACKLOG, {}, backlog.lane_backlog)

    def quarantined(self) -> list[QuarantineCount]:
        """How many checks are quarantined for which reason, the most frequent first."""
        return self._database.rows(backlog_queries.QUARANTINED, {}, QuarantineCount)

    def _with_lease(self, query: str, claim: Claim, **values: Any) -> bool:
        key = {"check_id": claim.check_id, "lease_token": claim.lease_token}
        return self._database.count(query, {**key, **values}) > 0


def _claim(
    *,
    check_id: UUID,
    lease_token: UUID,
    attempt: int,
    source: str,
    external_id: str,
    uri: str,
    lane: str,
    policy: str | None,
) -> Claim:
    return Claim(
        check_id=check_id,
        lease_token=lease_token,
        attempt=attempt,
        source=source,
        external_id=external_id,
        uri=uri,
        lane=Lane(lane),
        policy=policy,
    )


def _storable(text: str) -> str:
    """The text as Postgres can hold it: no NUL, no half of a surrogate pair."""
    return text.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _short(message: str) -> str:
    return _storable(message)[:MAX_ERROR_MESSAGE]


def _cut(body: str | bytes) -> str:
    text = _storable(body.decode(errors="replace") if isinstance(body, bytes) else body)
    return text.encode()[:MAX_REJECTED_BODY].decode(errors="ignore")
