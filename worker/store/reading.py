"""Reading checks back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from schema.states import CheckState, Decision, Lane, Reason
from schema.verdict import PolicyVersion, Region, Verdict
from worker.errors import ErrorCode, PermanentError
from worker.store import queries
from worker.store.database import Database, rows, scalars
from worker.store.scans import stored_scan
from worker.store.types import CheckView, Failure


def show(database: Database, check_id: UUID) -> CheckView:
    """Everything the ledger knows of one check."""
    with database.connection() as connection:
        found = rows(connection, queries.SHOW_CHECK, {"check_id": check_id}, _check_view)
        if not found:
            raise PermanentError(ErrorCode.UNKNOWN_CHECK, f"no check has the id {check_id}")
        view = found[0]
        if view.state is not CheckState.DONE:
            return view
        # What is done does not change any more, so that these statements need no common snapshot.
        scan_id, verdict = rows(connection, queries.SHOW_VERDICT, {"check_id": check_id}, _verdict)[0]
        scan = rows(connection, queries.SHOW_SCAN, {"scan_id": scan_id}, stored_scan)[0].scan
        maps = scalars(connection, queries.SHOW_MAP, {"scan_id": scan_id})
    # jsonb forgets the order of keys.
    scores = {name: verdict.class_scores[name] for name in scan.model.classes if name in verdict.class_scores}
    return replace(view, scan=scan, verdict=replace(verdict, class_scores=scores), map_png=maps[0] if maps else None)


def _check_view(
    *,
    check_id: UUID,
    source: str,
    external_id: str,
    uri: str,
    lane: str,
    policy: str | None,
    attributes: Mapping[str, Any],
    state: str,
    attempts: int,
    created_at: datetime,
    next_attempt_at: datetime,
    dispatched_at: datetime | None,
    started_at: datetime | None,
    finished_at: datetime | None,
    worker: str | None,
    error_code: str | None,
    error_message: str | None,
) -> CheckView:
    return CheckView(
        check_id=check_id,
        source=source,
        external_id=external_id,
        uri=uri,
        lane=Lane(lane),
        policy=policy,
        attributes=attributes,
        state=CheckState(state),
        attempts=attempts,
        created_at=created_at,
        next_attempt_at=next_attempt_at,
        dispatched_at=dispatched_at,
        started_at=started_at,
        finished_at=finished_at,
        worker=worker,
        error=None if error_code is None else Failure(error_code, error_message or ""),
    )


def _verdict(
    *,
    scan_id: UUID,
    decision: str,
    score: float | None,
    class_scores: Mapping[str, float],
    generator: str | None,
    generator_confidence: float | None,
    reasons: list[str],
    needs_review: bool,
    regions: list[dict[str, Any]],
    policy_name: str,
    policy_version: str,
) -> tuple[UUID, Verdict]:
    return scan_id, Verdict(
        decision=Decision(decision),
        score=score,
        class_scores=class_scores,
        generator=generator,
        generator_confidence=generator_confidence,
        reasons=tuple(Reason(reason) for reason in reasons),
        needs_review=needs_review,
        regions=tuple(Region(**region) for region in regions),
        policy=PolicyVersion(policy_name, policy_version),
    )
