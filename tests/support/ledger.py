"""Submissions, scans and verdicts to put into a ledger, and the way to a claimed check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np

from schema.examination import Examination
from schema.messages import Submission
from schema.scan import ModelIdentity, Scan, Tiling
from schema.states import Decision, Lane, Reason
from schema.verdict import PolicyVersion, Region, Verdict
from worker.store import Claim, Receipt, RecordOutcome, Store

MODEL = ModelIdentity("susy", "a" * 64, ("authentic", "alpha", "beta"))
CONTENT = "b" * 64
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


def stored_scan(tiles: int = 4, scored: int = 3, content: str = CONTENT) -> Scan:
    """A scan of `tiles` tiles of which the first `scored` were scored."""
    is_scored = np.arange(tiles) < scored
    probabilities = np.linspace(0, 1, tiles * 3, dtype=np.float16).reshape(tiles, 3)
    probabilities[~is_scored] = np.nan
    return Scan(
        content_sha256=content,
        model=MODEL,
        tiling=Tiling(),
        width=224 * max(tiles, 1),
        height=224,
        format="JPEG",
        corners=np.stack([np.arange(tiles) * 224, np.zeros(tiles)], axis=1).astype(np.int32),
        contrast=np.linspace(0, 65025, tiles, dtype=np.float32),
        selected=is_scored & (np.arange(tiles) < 2),
        scored=is_scored,
        probabilities=probabilities,
    )


def examination(
    scan: Scan | None = None, verdict: Verdict = VERDICT, map_png: bytes | None = MAP, scan_id: UUID | None = None
) -> Examination:
    """What an attempt records: of `stored_scan()`, when no scan is given."""
    return Examination(scan or stored_scan(), scan_id, map_png, verdict, POLICY_DOCUMENT)


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
    outcome = store.record(claim, examination(stored_scan(content=content), verdict))
    assert outcome is RecordOutcome.RECORDED
    return claim


def calm(verdict: Verdict = VERDICT) -> Verdict:
    """The same verdict, asking nobody for a look."""
    return replace(verdict, needs_review=False)


def backfill(**changes: Any) -> Submission:
    return submission(lane=Lane.BACKFILL, **changes)
