"""Rows of the ledger as the types of this package: what `kwargs_row` is given."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from schema.states import CheckState, Decision, Lane, Reason
from schema.verdict import PolicyVersion, Region, Verdict
from worker.store.types import CheckDetails, Claim, Failure, LaneStatus


def claim_of(*, lane: str, **columns: Any) -> Claim:
    """A row of CLAIM."""
    return Claim(lane=Lane(lane), **columns)


def details_of(
    *, lane: str, state: str, error_code: str | None, error_message: str | None, **columns: Any
) -> CheckDetails:
    """A row of SHOW_CHECK."""
    error = None if error_code is None else Failure(error_code, error_message or "")
    return CheckDetails(lane=Lane(lane), state=CheckState(state), error=error, **columns)


def verdict_of(
    *,
    scan_id: UUID,
    decision: str,
    reasons: list[str],
    regions: list[dict[str, Any]],
    policy_name: str,
    policy_version: str,
    **columns: Any,
) -> tuple[UUID, Verdict]:
    """A row of SHOW_VERDICT: the scan's id and the verdict."""
    return scan_id, Verdict(
        decision=Decision(decision),
        reasons=tuple(Reason(reason) for reason in reasons),
        regions=tuple(map(Region.of, regions)),
        policy=PolicyVersion(policy_name, policy_version),
        **columns,
    )


def lane_status_of(
    exact_up_to: int | None,
    *,
    lane: str,
    waiting: int,
    estimate: int,
    dispatched: int,
    running: int,
    done_per_minute: float | None,
    oldest_age: float | None,
    paused_at: datetime | None,
) -> LaneStatus:
    """A row of LANE_STATUS, of which up to `exact_up_to` waiting checks were counted."""
    is_exact = exact_up_to is None or waiting < exact_up_to
    queued = dispatched + (waiting if is_exact else max(waiting, estimate))
    rate = done_per_minute or 0.0
    return LaneStatus(
        lane=Lane(lane),
        queued=queued,
        queued_is_exact=is_exact,
        running=running,
        done_per_minute=rate,
        oldest_age=oldest_age if oldest_age is not None and oldest_age >= 0 else None,
        drained_in=(queued + running) / rate * 60 if rate else None,
        paused_at=paused_at,
    )
