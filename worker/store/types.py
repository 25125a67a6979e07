"""What the store takes and returns: frozen dataclasses, never rows or dicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from schema.scan import Scan
from schema.states import CheckState, Lane
from schema.verdict import Verdict


@dataclass(frozen=True)
class Receipt:
    """A submission was accepted, now or before."""

    check_id: UUID
    created: bool
    """False when the same `(source, external_id)` had been accepted before."""


@dataclass(frozen=True)
class Claim:
    """One attempt's right to a check, good as long as its lease is."""

    check_id: UUID
    lease_token: UUID
    attempt: int
    """1 for the first."""
    source: str
    external_id: str
    uri: str
    lane: Lane
    policy: str | None
    """Name of the policy asked for; None for the worker's default."""


class RecordOutcome(StrEnum):
    """What became of a verdict."""

    RECORDED = "recorded"
    """The check is done, with this attempt's verdict."""
    LEASE_LOST = "lease_lost"
    """The check is another's by now; nothing was written."""


@dataclass(frozen=True)
class ReclaimResult:
    """What became of checks whose workers went silent."""

    requeued: int
    quarantined: int


@dataclass(frozen=True)
class Failure:
    """Why the latest attempt failed."""

    code: str
    message: str


@dataclass(frozen=True, eq=False)
class CheckDetails:
    """Everything that the ledger holds about one check."""

    check_id: UUID
    source: str
    external_id: str
    uri: str
    lane: Lane
    policy: str | None
    attributes: Mapping[str, Any]
    state: CheckState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime
    dispatched_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    """Who holds it, or held it last."""
    error: Failure | None
    scan: Scan | None = None
    """With `verdict`, once the check is done."""
    verdict: Verdict | None = None
    map_png: bytes | None = None


@dataclass(frozen=True)
class LaneBacklog:
    """What waits in one lane."""

    lane: Lane
    queued: int
    due: int
    """Of the queued, what a worker could begin now."""
    running: int
    oldest_age: float | None
    """Seconds the longest-waiting check has been due; None when none is."""


@dataclass(frozen=True)
class QuarantineCount:
    """How many checks are quarantined for one reason."""

    code: str
    checks: int


@dataclass(frozen=True)
class CheckFilter:
    """Which checks an operator means: those that match all that is given."""

    check_ids: list[UUID] | None = None
    code: str | None = None
    """Of the latest failure."""
    source: str | None = None
    lane: Lane | None = None
    since: datetime | None = None
    """With `until`, inclusive: when a queued check was accepted, or another one ended."""
    until: datetime | None = None


@dataclass(frozen=True)
class LaneStatus:
    """A lane as an operator looks at it."""

    lane: Lane
    queued: int
    queued_is_exact: bool
    """False for a long lane, whose length is estimated from its index."""
    running: int
    done_per_minute: float
    """Over the last five minutes, or since the first check in them was done."""
    oldest_age: float | None
    """Seconds the longest-waiting check has been due; None when none is."""
    drained_in: float | None
    """Seconds until the lane is empty at that rate if nothing is added; None while nothing gets done."""


@dataclass(frozen=True)
class BacklogStatus:
    """Everything that waits or was set aside."""

    lanes: tuple[LaneStatus, ...]
    """`live` first."""
    quarantined: tuple[QuarantineCount, ...]
    """By code, the most frequent first."""
    rejected_messages: int
