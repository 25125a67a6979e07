"""What the store takes and returns: frozen dataclasses, never rows or dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID

from schema.scan import Scan
from schema.states import CheckState, Decision, Lane
from schema.verdict import PolicyVersion, Verdict
from worker.store.scans import ScanColumns


@dataclass(frozen=True)
class Claim:
    """The right of one attempt to write to a check, valid for as long as its lease."""

    check_id: UUID
    lease_token: UUID
    attempt: int
    """1 for the first."""
    source: str
    external_id: str
    uri: str
    lane: Lane
    policy: str | None
    """Name of the requested policy; None when the routes choose it."""
    attributes: Mapping[str, Any]
    """What the submission said about the image."""
    etag: str | None = None
    version_id: str | None = None
    """Which version of the image was submitted, where the submitter said."""


class RecordOutcome(StrEnum):
    """The result of recording a verdict."""

    RECORDED = "recorded"
    """The check is done, with this attempt's verdict."""
    LEASE_LOST = "lease_lost"
    """The check belongs to another attempt by now; nothing was written."""


@dataclass(frozen=True)
class ReclaimResult:
    """The result of reclaiming checks whose leases have expired."""

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
    expires_at: datetime | None
    """When it expires unless a worker has begun it; None without a deadline."""
    worker: str | None
    """The worker that holds it, or held it last."""
    error: Failure | None
    etag: str | None
    version_id: str | None
    """Which version of the image was submitted, where the submitter said."""
    fetched_etag: str | None
    fetched_version_id: str | None
    """Which version was examined, where its server said."""
    scan: Scan | None = None
    """With `verdict`, once the check is done."""
    verdict: Verdict | None = None
    map_png: bytes | None = None

    @property
    def source_changed(self) -> bool | None:
        """Whether another image was examined than was submitted; None when that is not known."""
        pairs = ((self.etag, self.fetched_etag), (self.version_id, self.fetched_version_id))
        differing = [submitted != fetched for submitted, fetched in pairs if submitted and fetched]
        return any(differing) if differing else None


@dataclass(frozen=True)
class QuarantineCount:
    """How many checks are quarantined for one reason."""

    code: str
    checks: int


@dataclass(frozen=True)
class ReadingLogin:
    """A login of a dashboard or of a moderators' tool."""

    name: str
    moderates_and_reads: bool
    """It could show the second of two reviewers what the first one said."""
    without: Sequence[str]
    """The limits that it lacks: `statement_timeout`, `idle_in_transaction_session_timeout`."""


@dataclass(frozen=True)
class CheckFilter:
    """Selects the checks that match everything that is set."""

    check_ids: list[UUID] | None = None
    code: str | None = None
    """Of the latest failure."""
    source: str | None = None
    lane: Lane | None = None
    since: datetime | None = None
    """With `until`, inclusive: the time of acceptance of a queued check, of the end of any other."""
    until: datetime | None = None


@dataclass(frozen=True)
class LaneStatus:
    """The backlog of one lane, as `susy backlog status` shows it."""

    lane: Lane
    queued: int
    queued_is_exact: bool
    """False for a long lane, whose length is estimated from its index."""
    running: int
    done_per_minute: float
    """Over the last five minutes, or since the first check that was done in them."""
    oldest_age: float | None
    """Seconds for which the longest-waiting check has been due; None when none is."""
    drained_in: float | None
    """Seconds until the lane is empty at that rate if nothing is added; None at a rate of 0."""
    paused_at: datetime | None
    """When the lane was paused; None while it is served."""


@dataclass(frozen=True)
class WorkerActivity:
    """What the workers of one host do, and what waits for them."""

    running: int
    """Checks that they hold."""
    last_claim_age: float | None
    """Seconds since they last began an attempt; None when that is longer ago than the time that was looked at."""
    oldest_due_age: float | None
    """Seconds for which the longest-waiting check that was sent to their lanes' queues has been due; None without.

    Lanes that are paused do not count.
    """


@dataclass(frozen=True, eq=False)
class DecidedScan:
    """A check that is done: what was decided about which scan."""

    check_id: UUID
    source: str
    created_at: datetime
    verdict_id: UUID
    """The verdict that counts."""
    policy: PolicyVersion
    """What it was decided by."""
    scan_is_unchanged: bool
    """Whether the scan is still as it was when this was decided."""
    decision: Decision
    generator: str | None
    needs_review: bool
    review: Decision | None
    """The latest review's decision."""
    columns: ScanColumns
    """The scan as it is stored."""

    @cached_property
    def scan(self) -> Scan:
        """The scan, decoded when it is first asked for."""
        return self.columns.scan()


@dataclass(frozen=True)
class Replacement:
    """A verdict that is to take the place of another one."""

    replaced: UUID
    """The verdict that counts until then."""
    verdict: Verdict
    keeps_regions: bool = False
    """Whether the regions are those of the replaced verdict, rather than `verdict.regions`."""


@dataclass(frozen=True)
class Application:
    """One time a policy was applied to checks that were decided before, or such an application was undone."""

    application_id: int
    policy: PolicyVersion
    """What was applied, or what was undone."""
    undoes: int | None
    """The application that it undoes; None where it applies a policy."""
    where: Mapping[str, Any]
    """Which checks: the filters that were given."""
    applied_by: str
    reason: str | None
    started_at: datetime
    finished_at: datetime | None
    """None while it runs, or when it was interrupted."""
    replaced: int
    """Checks whose verdict it replaced."""
    changed: int
    """Those among them whose decision changed."""


@dataclass(frozen=True)
class AppliedVerdict:
    """What an application decided about a check, and how the check stands now."""

    verdict_id: UUID
    check_id: UUID
    source: str
    live_id: UUID
    """The verdict that counts now, which the following two are of."""
    generator: str | None
    decision: Decision
    is_live: bool
    """Whether it still is what the application decided."""
    is_undone: bool
    """Whether it is what the application replaced: that was restored before."""
    is_reviewed: bool
    """Whether a review of the check counts."""
    replaced_id: UUID
    """The verdict that the application replaced."""
    replaced_policy: PolicyVersion
    replaced_decision: Decision


@dataclass(frozen=True)
class StoredPolicy:
    """One version of a policy in the ledger."""

    version: PolicyVersion
    document: Mapping[str, Any]
    """The whole policy."""
    created_at: datetime


@dataclass(frozen=True)
class PolicyRevision:
    """One configuration of the policies."""

    revision: int
    """1 for the first."""
    configuration: Mapping[str, Any]


@dataclass(frozen=True)
class PolicyChange:
    """Who made which change of the configuration, when and why."""

    revision: int
    """The number of the configuration that it led to."""
    change: str
    changed_by: str
    reason: str
    changed_at: datetime


@dataclass(frozen=True)
class DriftGroup:
    """Checks whose scores, decisions or generators may be compared: measured, and decided, in the same way."""

    source: str
    measure: str
    """`score`, `decision` or `generator`."""
    weights_sha256: str
    precision: str
    tiling: str
    policy: str | None
    """None for scores, as the version: they do not depend on a policy's thresholds."""
    policy_version: str | None
    aggregate: str | None
    """How the policies make one score of the scores of tiles; None for decisions and generators."""


@dataclass(frozen=True)
class CategoryCount:
    """How many checks of a group belong to one category, in a period and in a reference period."""

    group: DriftGroup
    category: str
    """The number of a bin of scores, a decision, or a generator, empty for checks without one."""
    seen: int
    before: int


@dataclass(frozen=True)
class Arrivals:
    """Whether a source has stopped sending, as `dashboard.arrivals` has it. Days are whole days in UTC."""

    source: str
    status: str
    """`silent`, `stable` or `too_few`."""
    last_check_at: datetime | None
    """When its last check was accepted; None when that was pruned."""
    silent_days: int
    """Days since then on which it usually sends."""
    longest_silent_days: int
    """The longest sequence of such days in the twelve weeks before."""
    usual_days: int
    """Days on which it usually sends in those weeks, 0..84."""
    checks_per_day: float | None
    """Mean on these days; None without such days."""
    p_value: float | None
    """Probability of so many silent days in sequence, 0..1; None with fewer than 14 usual days."""
    adjusted_p_value: float | None


@dataclass(frozen=True)
class BacklogStatus:
    """What waits, and what was quarantined, expired or rejected."""

    lanes: tuple[LaneStatus, ...]
    """`live` first."""
    quarantined: tuple[QuarantineCount, ...]
    """By code, the most frequent first."""
    expired: int
    rejected_messages: int
    set_aside_up_to: int | None = None
    """Of each code, of what expired and of rejected messages, no more were counted; None when all were."""

    def is_exact(self, count: int) -> bool:
        """Whether a count of what was set aside is not merely its bound."""
        return self.set_aside_up_to is None or count < self.set_aside_up_to
