"""The ledger's operations, in the order of a check's life: submit, publish, lease, record, read, operate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import Any, Self
from uuid import UUID

from schema.examination import Examination, StoredScan
from schema.messages import Receipt, Submission
from schema.scan import ModelIdentity, Tiling
from schema.states import CheckState, Decision, Lane
from worker.errors import ErrorCode, PermanentError
from worker.store import queries
from worker.store.applications import ApplicationTable
from worker.store.cases import CaseTable
from worker.store.claims import ClaimTable
from worker.store.connection import Plans
from worker.store.database import LEADER_LOCK, PATIENT, STATEMENT_TIMEOUT, Database, rows, scalars
from worker.store.drift import DriftCounts
from worker.store.events import ALL, Event, events_after, number_events
from worker.store.from_rows import claim_of, details_of, lane_status_of, verdict_of
from worker.store.hooks import HookTable
from worker.store.keys import KeyTable
from worker.store.policies import PolicyLedger
from worker.store.pruning import Pruned, PruneFilter, prune
from worker.store.recording import Recorder
from worker.store.review_queue import ReviewQueue
from worker.store.reviewed import ReviewedChecks
from worker.store.reviews import ReviewTable
from worker.store.scans import stored_scan
from worker.store.submitting import submit_each
from worker.store.text import bounded, one_line, storable
from worker.store.types import (
    BacklogStatus,
    CheckDetails,
    CheckFilter,
    Claim,
    QuarantineCount,
    ReadingLogin,
    ReclaimResult,
    RecordOutcome,
    WorkerActivity,
)

DEADLY = [str(code) for code in (ErrorCode.LEASE_EXPIRED, ErrorCode.DEADLINE_EXCEEDED)]
"""Failures after which the image may be what ends or hangs processes."""
EXACT_UP_TO = 100_000
"""Waiting checks of a lane that are counted one by one; the length of a longer lane is estimated."""
SET_ASIDE_UP_TO = 1000
"""Checks of one kind that were quarantined or expired, or messages rejected, of which no more are counted."""
PRUNE_BATCH = 2000
"""Checks that one transaction of `prune` deletes, at most."""
RATE_WINDOW = 300.0
"""Seconds over which the rate of finished checks is measured."""


class Store:
    """The ledger in one Postgres. Safe to share between threads.

    Every method raises `TransientError(DATABASE_UNAVAILABLE)` when Postgres is unavailable, within `timeout` seconds,
    and `SetupError(DATABASE_OUTDATED)` when it lacks a migration. Those that may work on many rows, and the recording
    of a verdict, wait for the answer of a server that stopped in the meantime until 5 s after `statement_timeout`.
    """

    def __init__(
        self,
        database_url: str,
        *,
        pool_size: int,
        timeout: float = 10.0,
        statement_timeout: float = STATEMENT_TIMEOUT,
        actor: str = "",
    ) -> None:
        """`actor` is whom the audit log names for what is done; without it, it names the database's login."""
        self._database = Database(
            database_url, pool_size=pool_size, timeout=timeout, statement_timeout=statement_timeout, actor=actor
        )
        self._recorder = Recorder(self._database)
        self.keys = KeyTable(self._database)
        """The keys of the HTTP service."""
        self.policies = PolicyLedger(self._database)
        """What decides."""
        self.applications = ApplicationTable(self._database)
        """What was decided again."""
        self.reviewed = ReviewedChecks(self._database)
        """What people decided, as labels of scans."""
        self.cases = CaseTable(self._database)
        """What a person said the opposite of a policy about."""
        self.claims = ClaimTable(self._database)
        self.review_queue = ReviewQueue(self._database)
        """Who reviews what at the moment."""
        self.reviews = ReviewTable(self._database)
        """What people decided, beyond single reviews."""
        self.hooks = HookTable(self._database)
        """What is remembered of object storage."""
        self.drift = DriftCounts(self._database)
        """What was decided in two periods, to be compared."""

    def open(self) -> None:
        """Start to connect in the background. Postgres need not be available yet."""
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
        self._database.execute(queries.PING, {})

    # --- Submitting

    def submit(self, submission: Submission, *, dispatched: bool = False) -> Receipt:
        """Accept one submission. With `dispatched`, a new check's message counts as sent, which the caller does next.

        Raises `PermanentError`: `CONFLICT` when its key was accepted for another image, `UNKNOWN_ENDPOINT` when it
        names an endpoint that is not registered for its source.
        """
        [outcome] = self.submit_each([submission], dispatched=dispatched)
        if isinstance(outcome, PermanentError):
            raise outcome
        return outcome

    def submit_each(
        self, submissions: Iterable[Submission], *, dispatched: bool = False
    ) -> list[Receipt | PermanentError]:
        """Accept up to some thousands at once. In their order, a receipt or the error for each.

        An endpoint that is not registered for the submission's source is an error of that submission. One INSERT, hence
        all or none when Postgres fails; to repeat the call is safe for submissions with an `external_id`.
        """
        return submit_each(self._database, submissions, dispatched=dispatched)

    def reject_message(self, task: str, body: str | bytes, *, code: ErrorCode, message: str) -> None:
        """Store what is left of a message that no check could be made of."""
        values = {"task": storable(task), "body": bounded(body), "code": str(code), "message": one_line(message)}
        self._database.execute(queries.REJECT_MESSAGE, values)

    # --- Publishing

    def mark_dispatched(self, check_ids: Iterable[UUID], *, within: float | None = None) -> None:
        """Note that messages for these checks are in the queue, `within` seconds."""
        self._database.execute(queries.MARK_DISPATCHED, {"check_ids": list(check_ids)}, within, Plans.KEPT)

    def unmark_dispatched(self, check_ids: Iterable[UUID], *, within: float | None = None) -> None:
        """Note that messages for these checks were not sent after all, `within` seconds."""
        self._database.execute(queries.UNMARK_DISPATCHED, {"check_ids": list(check_ids)}, within, Plans.KEPT)

    def take_due(self, lane: Lane, *, limit: int) -> list[UUID]:
        """Mark up to `limit` due checks as dispatched; the caller publishes them in this order.

        One of each source in turn, each source's oldest first, so that no source waits for another one's flood. May
        take fewer than are due; an empty answer means that none is left.
        """
        return self._database.scalars(queries.TAKE_DUE, {"lane": str(lane), "limit": limit}, PATIENT)

    def dispatched_ago(self, check_id: UUID) -> float | None:
        """Seconds since the message of a waiting check was sent; None where none was, or the check does not wait."""
        values: list[float] = self._database.scalars(queries.DISPATCHED_AGO, {"check_id": check_id})
        return values[0] if values else None

    def forget_dispatched(self, lane: Lane, *, age: float, limit: int) -> int:
        """Queue checks again whose messages were sent `age` seconds ago and are lost; how many."""
        values = {"lane": str(lane), "age": age, "limit": limit}
        return self._database.execute(queries.FORGET_DISPATCHED, values, PATIENT)

    def reading_logins(self) -> list[ReadingLogin]:
        """The logins of dashboards and of moderators' tools."""
        return self._database.rows(queries.READING_LOGINS, {}, ReadingLogin)

    def paused_at(self, lane: Lane) -> datetime | None:
        """When the lane was paused; None while it is served."""
        values: list[datetime] = self._database.scalars(queries.PAUSED_AT, {"lane": str(lane)})
        return values[0] if values else None

    @contextmanager
    def lead(self) -> Iterator[bool]:
        """Try to become the leading reconciler; yields whether this one leads.

        Hold it for one round: if its connection breaks, another one may lead as well. Two leaders do no harm, because
        each statement locks what it changes.
        """
        with self._database.try_lock(LEADER_LOCK) as leading:
            yield leading

    # --- Leases

    def claim(
        self, check_id: UUID, *, worker: str, lease: float, max_attempts: int, suspects: bool = True
    ) -> Claim | None:
        """Begin an attempt if the check is due, or its lease has expired, attempts are left, and its lane is served.

        Not when its deadline has passed: `expire` ends such a check.
        Without `suspects`, not a check whose latest attempt may have ended its process (`is_suspect`).
        """
        values = {
            "check_id": check_id,
            "worker": worker,
            "lease": lease,
            "max_attempts": max_attempts,
            "suspects": suspects,
            "deadly": DEADLY,
        }
        return self._database.row(queries.CLAIM, values, claim_of, Plans.KEPT)

    def is_suspect(self, check_id: UUID) -> bool:
        """Whether the check is due and its latest attempt may have ended the process it ran in."""
        return bool(self._database.scalars(queries.IS_SUSPECT, {"check_id": check_id, "deadly": DEADLY})[0])

    def expire(self, check_id: UUID | None = None, *, limit: int = 1) -> int:
        """End up to `limit` waiting checks whose deadline has passed, or this one if it has; how many.

        The earliest deadline first. A check that is running is not ended.
        """
        return self._database.execute(queries.EXPIRE, {"check_id": check_id, "limit": limit}, PATIENT)

    def renew(self, claims: Sequence[Claim], lease: float) -> frozenset[UUID]:
        """Extend the leases to `lease` seconds from now; the tokens of those that are still held."""
        values = {
            "check_ids": [claim.check_id for claim in claims],
            "lease_tokens": [claim.lease_token for claim in claims],
            "lease": lease,
        }
        return frozenset(self._database.scalars(queries.RENEW, values, plans=Plans.KEPT))

    def release(self, claim: Claim) -> bool:
        """Return the check as if it had not been claimed; False when the lease was lost."""
        return self._with_lease(queries.RELEASE, claim)

    def fail(self, claim: Claim, *, code: ErrorCode, message: str, retry_in: float | None) -> bool:
        """End the attempt: retry in `retry_in` seconds, or with None quarantine. False when the lease was lost."""
        failure = {"code": str(code), "message": one_line(message)}
        if retry_in is None:
            return self._with_lease(queries.QUARANTINE, claim, **failure)
        return self._with_lease(queries.RETRY_LATER, claim, retry_in=retry_in, **failure)

    def reclaim_expired(self, *, max_attempts: int, limit: int) -> ReclaimResult:
        """Requeue checks whose lease has expired, and quarantine those that have used up their attempts."""
        values = {"max_attempts": max_attempts, "limit": limit, "code": str(ErrorCode.LEASE_EXPIRED)}
        states = Counter(self._database.scalars(queries.RECLAIM_EXPIRED, values, PATIENT))
        return ReclaimResult(requeued=states[CheckState.QUEUED], quarantined=states[CheckState.QUARANTINED])

    def _with_lease(self, query: str, claim: Claim, **values: Any) -> bool:
        key = {"check_id": claim.check_id, "lease_token": claim.lease_token}
        return self._database.execute(query, {**key, **values}, plans=Plans.KEPT) > 0

    # --- Recording

    def find_scan(self, content_sha256: str, model: ModelIdentity, tiling: Tiling) -> StoredScan | None:
        """The scan of this content by these weights in this precision under this tiling, if there is one."""
        key = {
            "content_sha256": content_sha256,
            "weights_sha256": model.sha256,
            "precision": str(model.precision),
            "tiling": str(tiling),
        }
        return self._database.row(queries.FIND_SCAN, key, stored_scan, Plans.KEPT)

    def record(self, claim: Claim, examination: Examination) -> RecordOutcome:
        """End the check with this verdict in one transaction, if the lease is still held."""
        return self._recorder.record(claim, examination)

    def add_review(self, check_id: UUID, *, reviewer: str, decision: Decision, note: str | None = None) -> UUID:
        """Store what a person decided about a check that has ended; the review's id. Reviews are only added.

        Raises `PermanentError` (`unknown_check`; `check_not_ended` while it is queued or running).
        """
        values = {"check_id": check_id, "reviewer": reviewer, "decision": str(decision), "note": note}
        review_id: UUID = self._database.scalars(queries.ADD_REVIEW, values)[0]
        return review_id

    def fold_decisions(self, *, limit: int) -> None:
        """Add up to `limit` decisions to the counts per day, which views read; what is not added yet, they count."""
        self._database.execute(queries.FOLD_DECISIONS, {"limit": limit}, PATIENT)

    # --- Reading one check

    def find(self, source: str, external_id: str) -> UUID | None:
        """The check that was accepted under this key; None without."""
        found: list[UUID] = self._database.scalars(queries.FIND_CHECK, {"source": source, "external_id": external_id})
        return found[0] if found else None

    def finished(self, check_ids: Sequence[UUID]) -> list[UUID]:
        """Which of these checks have ended."""
        return self._database.scalars(queries.FINISHED, {"check_ids": list(check_ids)})

    def show(self, check_id: UUID, *, with_map: bool = True) -> CheckDetails:
        """Everything that the ledger holds about one check. Raises `PermanentError(UNKNOWN_CHECK)`."""
        with self._database.connection() as connection:
            found = rows(connection, queries.SHOW_CHECK, {"check_id": check_id}, details_of)
            if not found:
                raise PermanentError(ErrorCode.UNKNOWN_CHECK, f"no check has the id {check_id}")
            if found[0].state is not CheckState.DONE:
                return found[0]
            # Its verdict may be replaced meanwhile, but verdicts do not change: no common snapshot is needed.
            [(scan_id, verdict)] = rows(connection, queries.SHOW_VERDICT, {"check_id": check_id}, verdict_of)
            [stored] = rows(connection, queries.SHOW_SCAN, {"scan_id": scan_id}, stored_scan)
            maps = scalars(connection, queries.SHOW_MAP, {"scan_id": scan_id}) if with_map else []
        # jsonb does not keep the order of keys.
        classes = [name for name in stored.scan.model.classes if name in verdict.class_scores]
        verdict = replace(verdict, class_scores={name: verdict.class_scores[name] for name in classes})
        return replace(found[0], scan=stored.scan, verdict=verdict, map_png=maps[0] if maps else None)

    # --- Reading what happened

    def number_events(self) -> int:
        """Give new events their positions, and hand them to their endpoints; how many.

        Deliverers and readers do this all the time; here all events are looked at, however old.
        """
        return number_events(self._database, back=ALL)

    def events_after(self, after: int, *, limit: int, sources: Sequence[str] | None = None) -> tuple[Event, ...]:
        """Up to `limit` events after a position, in an order in which nothing appears later before what was read.

        Begin with 0 and continue with the `position` of the last one. With `sources`, only events of those.
        """
        return events_after(self._database, after, limit=limit, sources=sources)

    def endpoint_names(self) -> set[str]:
        """The names of the endpoints that submissions may name."""
        return set(self._database.scalars(queries.ENDPOINT_NAMES, {}))

    # --- Operating the backlog

    def status(self, *, exact_up_to: int | None = EXACT_UP_TO) -> BacklogStatus:
        """What waits, how fast it drains, and what was set aside.

        The waiting checks of a lane are counted up to `exact_up_to`, and estimated beyond, and what was set aside is
        counted up to `SET_ASIDE_UP_TO` of each kind, which keeps it fast; None counts all.
        """
        aside = {"up_to": None if exact_up_to is None else SET_ASIDE_UP_TO}
        with self._database.connection(PATIENT if exact_up_to is None else None) as connection:
            return BacklogStatus(
                lanes=tuple(
                    rows(
                        connection,
                        queries.LANE_STATUS,
                        {"lane": str(lane), "exact_up_to": exact_up_to, "window": RATE_WINDOW},
                        partial(lane_status_of, exact_up_to),
                    )[0]
                    for lane in Lane
                ),
                quarantined=tuple(rows(connection, queries.QUARANTINED, aside, QuarantineCount)),
                expired=scalars(connection, queries.EXPIRED, aside)[0],
                rejected_messages=scalars(connection, queries.REJECTED_MESSAGES, aside)[0],
                set_aside_up_to=aside["up_to"],
            )

    def oldest_due_age(self, source: str, lane: Lane) -> float | None:
        """Seconds for which the longest-waiting check of a source in a lane has been due; None when none is, or when
        the lane is paused."""
        age: float | None = self._database.scalars(queries.OLDEST_DUE_AGE, {"source": source, "lane": str(lane)})[0]
        return age

    def count(self, state: CheckState, where: CheckFilter) -> int:
        """How many checks of this state match."""
        return sum(
            self._database.scalars(queries.COUNT_CHECKS, {**asdict(where), "state": str(state), **part}, PATIENT)[0]
            for part in _parts(state, where)
        )

    def requeue(self, state: CheckState, where: CheckFilter, *, limit: int = 1000) -> int:
        """Queue up to `limit` matching checks of a final state again, with all their attempts; how many."""
        values = {**asdict(where), "state": str(state), "limit": limit}
        requeued: int = self._database.scalars(queries.REQUEUE, values, PATIENT)[0]
        return requeued

    def cancel(self, where: CheckFilter, *, limit: int = 1000, actor: str | None = None) -> int:
        """Cancel up to `limit` matching queued checks, so that they are never examined; how many.

        `actor` is whom the audit log names, where that is not the store's.
        """
        for part in _parts(CheckState.QUEUED, where):
            values = {**asdict(where), **part, "limit": limit}
            with self._database.connection(PATIENT) as connection, connection.transaction():
                if actor is not None:
                    connection.execute(queries.ACT_AS, {"actor": actor})
                cancelled: int = scalars(connection, queries.CANCEL, values)[0]
            if cancelled:
                return cancelled
        return 0

    def prune(self, where: PruneFilter, *, batch: int = PRUNE_BATCH, dry_run: bool = False) -> Iterator[Pruned]:
        """Delete checks that ended, with all that belongs to them; what each batch deleted. Needs the owner's rights.

        Counts per day stay as they are. Repeating the call continues; a dry run counts checks and deletes nothing.
        """
        return prune(self._database, where, batch=batch, dry_run=dry_run)

    def pause(self, lane: Lane) -> bool:
        """Let no further check of this lane be claimed; what is running continues. False when it was paused before."""
        return self._database.execute(queries.PAUSE_LANE, {"lane": str(lane)}) > 0

    def resume(self, lane: Lane) -> bool:
        """Serve this lane again; False when it was not paused.

        Workers have dropped the messages of its checks meanwhile. What the dispatcher has not noticed is returned to
        the lane's queue here.
        """
        resumed = self._database.execute(queries.RESUME_LANE, {"lane": str(lane)}) > 0
        while resumed and self.forget_dispatched(lane, age=0.0, limit=1000):
            pass
        return resumed

    def worker_activity(self, host: str, lanes: Sequence[Lane], *, window: float) -> WorkerActivity:
        """What the workers of a host have begun in the last `window` seconds, and what waits in these lanes."""
        values = {"host": host, "lanes": [str(lane) for lane in lanes], "window": window}
        [activity] = self._database.rows(queries.WORKER_ACTIVITY, values, WorkerActivity)
        return activity

    def analyze(self) -> None:
        """Refresh Postgres' statistics of the checks, after many were added at once."""
        self._database.execute(queries.ANALYZE, {}, PATIENT)

    def now(self) -> datetime:
        """The database's clock, from which all times in the ledger come."""
        [moment] = self._database.scalars(queries.NOW, {})
        assert isinstance(moment, datetime)
        return moment


def _parts(state: CheckState, where: CheckFilter) -> list[dict[str, Any]]:
    """Restrictions that together cover each check of a state once, each with an index that holds it."""
    if state is not CheckState.QUEUED:
        return [{"dispatched": None}]
    lanes = tuple(Lane) if where.lane is None else (where.lane,)
    return [*({"lane": str(lane), "dispatched": False} for lane in lanes), {"dispatched": True}]
