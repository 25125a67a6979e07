"""From a scan to a verdict. Pure: the same scan, policy and regions always give the same verdict."""

from __future__ import annotations

from schema.scan import Scan
from schema.states import Decision, Reason
from schema.verdict import Region, Verdict
from worker.policy.aggregation import aggregate, evidence
from worker.policy.policy import Aggregation, Localize, Policy
from worker.policy.rules import Case, findings, scope_findings

__all__ = [
    "MAP_REASONS",
    "aggregate",
    "decide",
    "evidence",
    "may_have_region",
    "may_show_region",
    "out_of_scope",
    "wants_map",
]

MAP_REASONS = (Reason.BELOW_AUTHENTIC_BELOW, Reason.ANIMATED_FIRST_FRAME_ONLY, Reason.SYNTHETIC_REGION)
"""The reasons between which the map decides; no other decision depends on it."""


def decide(scan: Scan, policy: Policy, regions: tuple[Region, ...]) -> Verdict:
    """What `policy` decides about `scan`, whose map reaches `policy.region_at` in `regions`."""
    case = Case(scan, policy)
    decisive = next(finding for finding in findings(case, regions) if finding.holds)
    was_scored = len(case.tiles) > 0
    generator, confidence = None, None
    if was_scored and decisive.decision is not Decision.AUTHENTIC:
        generator, confidence = case.generator
    return Verdict(
        decision=decisive.decision,
        score=_rounded(1 - case.distribution[0]) if was_scored else None,
        class_scores={name: _rounded(p) for name, p in zip(scan.model.classes, case.distribution, strict=True)}
        if was_scored
        else {},
        generator=generator,
        generator_confidence=confidence,
        reasons=(decisive.reason, Reason.DEMO_WEIGHTS) if scan.model.is_demo else (decisive.reason,),
        needs_review=decisive.decision in policy.review or scan.model.is_demo,
        regions=regions,
        policy=policy.version,
    )


def out_of_scope(scan: Scan, policy: Policy) -> Reason | None:
    """Why the detector cannot judge the image, whatever it answers; None when it can."""
    return _out_of_scope(Case(scan, policy))


def wants_map(scan: Scan, policy: Policy) -> bool:
    """Whether the policy asks for scores of the tiles of `scan` that were not selected: never out of its scope."""
    if policy.localize is Localize.NEVER or scan.complete or scan.map_sampled:
        return False
    case = Case(scan, policy)
    if _out_of_scope(case):
        return False
    if policy.localize is Localize.ALWAYS:
        return True
    strongest = aggregate(case.tiles, Aggregation.MAX)
    return bool(case.evidence >= case.thresholds[1] or 1 - strongest[0] >= policy.region_at)


def may_show_region(scan: Scan, policy: Policy) -> bool:
    """Whether the map of `scan` can have a region: it is in scope, and a tile is as strong as a region.

    A cell of the map is a mean over tiles, so it is never stronger than the strongest of them.
    """
    if not scan.scored.any() or 1 - float(scan.probabilities[scan.scored, 0].min()) < policy.region_at:
        return False
    return _out_of_scope(Case(scan, policy)) is None


def may_have_region(scan: Scan, policy: Policy) -> bool:
    """Whether a region could decide: there can be one, and the verdict would be authentic without it."""
    if not policy.region_decides or not may_show_region(scan, policy):
        return False
    case = Case(scan, policy)
    return case.evidence < case.thresholds[1]


def _out_of_scope(case: Case) -> Reason | None:
    return next((finding.reason for finding in scope_findings(case) if finding.holds), None)


def _rounded(probability: float) -> float:
    # Scans keep float16, which resolves probabilities to about 0.0005.
    return round(float(probability), 4)
