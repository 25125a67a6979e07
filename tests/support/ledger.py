"""Submissions, a scan and a verdict to put into a ledger, and the way to a claimed check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from schema.examination import Examination
from schema.messages import Submission
from schema.scan import Scan
from schema.states import Decision, Lane, Reason
from schema.verdict import PolicyVersion, Region, Verdict
from tests.support.scans import CONTENT, scan_of
from worker.localization.heatmap import heatmap, map_grid
from worker.store import Claim, Receipt, RecordOutcome, Store

SCAN = scan_of((0.1, 0.35, 0.6, None), contrast=(0, 500, 10_000, 65_025))
POLICY_DOCUMENT = {"name": "default", "synthetic_at": 0.9}
MAP = b"\x89PNG\r\n\x1a\n of no particular image"

VERDICT = Verdict(
    decision=Decision.SYNTHETIC,
    score=0.1 + 0.2,  # no finite decimal: what comes back must be the same to the last bit
    class_scores={"authentic": 0.7, "alpha": 0.2, "beta": 0.1},
    generator="alpha",
    generator_confidence=2 / 3,
    reasons=(Reason.ABOVE_SYNTHETIC_AT, Reason.SYNTHETIC_REGION),
    needs_review=True,
    regions=(Region(x=0, y=224, width=224, height=448, score=0.987654321),),
    policy=PolicyVersion("default", "1a2b3c"),
)


def submission(**changes: Any) -> Submission:
    return Submission(**{"source": "avatars", "uri": "/images/1.jpg", **changes})


def unchecked(**changes: Any) -> Submission:
    """A submission that was not validated, as another producer's code may build one."""
    return submission().model_copy(update=changes)


def examination(
    scan: Scan | None = None, verdict: Verdict = VERDICT, map_png: bytes | None = MAP, scan_id: UUID | None = None
) -> Examination:
    """What an attempt records: of `SCAN`, when no scan is given."""
    scan = scan or SCAN
    grid = None if map_png is None else map_grid(heatmap(scan))
    return Examination(scan, scan_id, map_png, verdict, POLICY_DOCUMENT, map_grid=grid)


def submit_all(store: Store, submissions: Iterable[Submission]) -> list[Receipt]:
    """Submit checks none of which contradicts another one."""
    outcomes = store.submit_each(submissions)
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    return outcomes  # type: ignore[return-value]


def claimed(store: Store, *, lease: float = 60.0, max_attempts: int = 5, **changes: Any) -> Claim:
    """Submit a check and claim it."""
    check_id = store.submit(submission(**changes)).check_id
    claim = store.claim(check_id, worker="worker-1", lease=lease, max_attempts=max_attempts)
    assert claim is not None
    return claim


def done(store: Store, *, verdict: Verdict = VERDICT, content: str = CONTENT, **changes: Any) -> Claim:
    """Submit, claim and record a check."""
    claim = claimed(store, **changes)
    outcome = store.record(claim, examination(replace(SCAN, content_sha256=content), verdict))
    assert outcome is RecordOutcome.RECORDED
    return claim


def calm(verdict: Verdict = VERDICT) -> Verdict:
    """The same verdict, asking nobody for a look."""
    return replace(verdict, needs_review=False)


def backfill(**changes: Any) -> Submission:
    return submission(lane=Lane.BACKFILL, **changes)
