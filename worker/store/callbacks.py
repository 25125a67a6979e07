"""The ledger's part of callbacks: endpoints with their keys, and deliveries that are claimed, sent and recorded.

A delivery is claimed like a check: under a lease, which a deliverer that dies leaves to run out. Unlike a check it
stays `pending` meanwhile, so that claiming updates no index.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from schema.states import KeyKind
from worker.errors import ErrorCode, PermanentError
from worker.store import queries
from worker.store.database import EVENTS_LOCK, PATIENT, STATEMENT_TIMEOUT, Database, rows, scalars
from worker.store.events import Event, number_events

FAILURES_TO_OPEN = 5
"""Failed attempts in sequence after which the circuit of an endpoint opens."""
FIRST_OPEN, LONGEST_OPEN = 5.0, 300.0
"""Seconds for which it stays open: doubling with each further failure, from the first to the longest."""


@dataclass(frozen=True)
class Endpoint:
    """Where callbacks are sent."""

    id: int
    name: str
    url: str
    sources: tuple[str, ...]
    """The sources whose checks are sent here; none for an endpoint that submissions name."""
    allow_private: bool
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None
    failures: int
    """Failed attempts in sequence."""
    open_until: datetime | None
    """Until when the circuit is open."""
    keys: tuple[tuple[KeyKind, bytes], ...] = field(repr=False)
    """What signs now, the newest first."""


@dataclass(frozen=True)
class ClaimedDelivery:
    """The right to send one event to one endpoint once, for as long as its lease."""

    endpoint_id: int
    event: Event
    lease_token: UUID
    attempt: int
    """1 for the first."""


@dataclass(frozen=True)
class Attempted:
    """How an attempt ended."""

    delivery: ClaimedDelivery
    status: int | None
    """HTTP status of the answer; None without one."""
    code: str | None
    """Why it failed; None when it was delivered, or not made."""
    message: str | None = None
    retry_in: float | None = None
    """Seconds until the next attempt; None when there is none."""
    is_counted: bool = True
    """False for an attempt that was not made, or that says nothing of the event."""


@dataclass(frozen=True)
class EndpointStatus:
    """How one endpoint fares, as `susy callbacks status` shows it."""

    name: str
    disabled_at: datetime | None
    disabled_reason: str | None
    failures: int
    open_until: datetime | None
    pending: int
    oldest_age: float | None
    """Seconds since the oldest pending delivery was made; None without."""
    failed: int
    delivered_lately: int
    """Delivered in the last 24 hours."""


class CallbackStore:
    """Endpoints and deliveries in one Postgres. Safe to share between threads; raises as `Store` does.

    `ahead` is how many seconds the clock of a test is ahead of the database's; `actor` is that of `Store`.
    """

    def __init__(
        self,
        database_url: str,
        *,
        pool_size: int = 2,
        timeout: float = 10.0,
        statement_timeout: float = STATEMENT_TIMEOUT,
        ahead: Callable[[], float] = lambda: 0.0,
        actor: str = "",
    ) -> None:
        self._database = Database(
            database_url, pool_size=pool_size, timeout=timeout, statement_timeout=statement_timeout, actor=actor
        )
        self._ahead = ahead

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        self._database.open()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # --- Endpoints

    def add_endpoint(
        self, *, name: str, url: str, sources: Sequence[str], allow_private: bool, kind: KeyKind, secret: bytes
    ) -> None:
        """Register an endpoint with its first key. Raises `PermanentError(CONFLICT)` when the name is taken."""
        values = {"name": name, "url": url, "sources": list(sources), "allow_private": allow_private}
        with self._database.connection() as connection, connection.transaction():
            added = scalars(connection, queries.ADD_ENDPOINT, values)
            if not added:
                raise PermanentError(ErrorCode.CONFLICT, f"an endpoint {name!r} exists; choose another name")
            connection.execute(queries.ADD_ENDPOINT_KEY, {"endpoint_id": added[0], "kind": str(kind), "secret": secret})

    def endpoints(self) -> tuple[Endpoint, ...]:
        """All of them, by name."""
        return tuple(self._database.rows(queries.LIST_ENDPOINTS, {"name": None}, _endpoint))

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of this name. Raises `PermanentError(UNKNOWN_ENDPOINT)`."""
        found = self._database.row(queries.LIST_ENDPOINTS, {"name": name}, _endpoint)
        if found is None:
            raise PermanentError(
                ErrorCode.UNKNOWN_ENDPOINT, f"no endpoint has the name {name!r}; `susy endpoint list` shows them"
            )
        return found

    def rotate_key(self, endpoint_id: int, kind: KeyKind, secret: bytes, *, keep: float) -> None:
        """Add a key, and let those that sign now do so for `keep` more seconds."""
        with self._database.connection() as connection, connection.transaction():
            connection.execute(queries.EXPIRE_ENDPOINT_KEYS, {"endpoint_id": endpoint_id, "keep": keep})
            values = {"endpoint_id": endpoint_id, "kind": str(kind), "secret": secret}
            connection.execute(queries.ADD_ENDPOINT_KEY, values)

    def disable(self, endpoint_id: int, reason: str) -> bool:
        """Send nothing to it until it is enabled; False when it was disabled before."""
        values = {"endpoint_id": endpoint_id, "reason": reason}
        return self._database.execute(queries.DISABLE_ENDPOINT, values) > 0

    def enable(self, endpoint_id: int) -> bool:
        """Send to it again, and close its circuit; False when nothing had to change."""
        return self._database.execute(queries.ENABLE_ENDPOINT, {"endpoint_id": endpoint_id}) > 0

    def note_success(self, endpoint_id: int) -> None:
        """Close the circuit of an endpoint that has answered."""
        self._database.execute(queries.NOTE_SUCCESS, {"endpoint_id": endpoint_id})

    def note_failures(self, endpoint_id: int, count: int, *, requested: float | None = None) -> None:
        """Count failed attempts in sequence, which may open the circuit.

        `requested` is for how many seconds the endpoint wants nothing.
        """
        values = {
            "endpoint_id": endpoint_id,
            "count": count,
            "threshold": FAILURES_TO_OPEN,
            "first": FIRST_OPEN,
            "longest": LONGEST_OPEN,
            "requested": requested,
            "jitter": random.uniform(0.8, 1.2),  # noqa: S311 (not used for security)
            "ahead": self._ahead(),
        }
        self._database.execute(queries.NOTE_FAILURES, values)

    # --- Delivering

    def number_events(self) -> int:
        """Hand new events to their endpoints; how many were looked at."""
        return number_events(self._database, ahead=self._ahead())

    def claim(self, slots: Mapping[int, int], *, lease: float) -> list[ClaimedDelivery]:
        """Take due deliveries for one attempt, up to so many of each endpoint, for `lease` seconds."""
        values = {
            "endpoint_ids": list(slots),
            "slots": list(slots.values()),
            "lease": lease,
            "threshold": FAILURES_TO_OPEN,
            "ahead": self._ahead(),
        }
        claimed = self._database.rows(queries.CLAIM_DELIVERIES, values, _claimed)
        return sorted(claimed, key=lambda delivery: delivery.event.id)

    def record(self, attempts: Collection[Attempted]) -> int:
        """End these attempts, those whose lease is still held; how many."""
        values = {
            "endpoint_ids": [attempt.delivery.endpoint_id for attempt in attempts],
            "event_ids": [attempt.delivery.event.id for attempt in attempts],
            "lease_tokens": [attempt.delivery.lease_token for attempt in attempts],
            "statuses": [attempt.status for attempt in attempts],
            "codes": [attempt.code for attempt in attempts],
            "messages": [attempt.message for attempt in attempts],
            "retry_in": [attempt.retry_in for attempt in attempts],
            "uncounted": [0 if attempt.is_counted else 1 for attempt in attempts],
            "ahead": self._ahead(),
        }
        return self._database.execute(queries.RECORD_DELIVERIES, values, PATIENT)

    # --- Operating

    def status(self) -> tuple[EndpointStatus, ...]:
        """How each endpoint fares, by name."""
        return tuple(self._database.rows(queries.CALLBACK_STATUS, {}, EndpointStatus, PATIENT))

    def overdue(self) -> float | None:
        """Seconds for which a delivery has been due that no deliverer has taken; None when none is due."""
        seconds: float | None = self._database.scalars(queries.OVERDUE_DELIVERY, {})[0]
        return seconds

    def retry(
        self,
        *,
        endpoint: str | None = None,
        check_ids: Sequence[UUID] | None = None,
        since: datetime | None = None,
        limit: int = 1000,
    ) -> int | None:
        """Let up to `limit` failed deliveries be attempted again; how many were looked at.

        None while events get their positions: repeat the call.
        """
        values = {
            "endpoint": endpoint,
            "check_ids": None if check_ids is None else list(check_ids),
            "since": since,
            "limit": limit,
        }
        with self._database.connection(PATIENT) as connection, connection.transaction():
            if not scalars(connection, queries.TRY_LOCK_EVENTS, EVENTS_LOCK._asdict())[0]:
                return None
            return len(rows(connection, queries.RETRY_DELIVERIES, values, dict))

    def purge(self, *, age: float, limit: int = 1000) -> int:
        """Delete up to `limit` deliveries that ended well more than `age` seconds ago; how many."""
        return self._database.execute(
            queries.PURGE_DELIVERIES, {"age": age, "limit": limit, "ahead": self._ahead()}, PATIENT
        )

    def now(self) -> datetime:
        """The database's clock."""
        moment: datetime = self._database.scalars(queries.NOW, {})[0]
        return moment


def _endpoint(*, sources: list[str], key_kinds: list[str], key_secrets: list[bytes], **columns: Any) -> Endpoint:
    keys = tuple((KeyKind(kind), secret) for kind, secret in zip(key_kinds, key_secrets, strict=True))
    return Endpoint(sources=tuple(sources), keys=keys, **columns)


def _claimed(
    *,
    endpoint_id: int,
    lease_token: UUID,
    attempt: int,
    position: int,
    event_id: int,
    check_id: UUID,
    type: str,
    created_at: datetime,
    data: dict[str, Any],
) -> ClaimedDelivery:
    event = Event(position, event_id, check_id, type, created_at, data)
    return ClaimedDelivery(endpoint_id, event, lease_token, attempt)
