"""From scans to verdicts. Pure: the same scan, policy and regions always give the same verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schema.scan import Scan
from schema.scan_batch import ScanBatch
from schema.states import Decision, Reason
from schema.verdict import Verdict
from worker.localization.generators import generator_names
from worker.policy.aggregation import aggregate, evidence
from worker.policy.policy import Localize, Policy
from worker.policy.rules import Case, Cases, Regions, all_findings, scope_findings

__all__ = [
    "MAP_REASONS",
    "aggregate",
    "decide",
    "decide_batch",
    "evidence",
    "may_have_region",
    "may_have_regions",
    "may_show_region",
    "may_show_regions",
    "out_of_scope",
    "wants_map",
]

MAP_REASONS = (Reason.BELOW_AUTHENTIC_BELOW, Reason.ANIMATED_FIRST_FRAME_ONLY, Reason.SYNTHETIC_REGION)
"""The reasons between which the map decides; no other decision depends on it."""


def decide(scan: Scan, policy: Policy, regions: Regions) -> Verdict:
    """What `policy` decides about `scan`, whose map reaches `policy.region_at` in `regions`."""
    return decide_batch(ScanBatch.of([scan]), policy, [regions])[0]


def decide_batch(batch: ScanBatch, policy: Policy, regions: Sequence[Regions]) -> list[Verdict]:
    """What `policy` decides about each scan, given the regions of each: the same as about each of them alone."""
    cases = Cases(batch, policy)
    found = list(all_findings(cases, regions))
    decisive = np.stack([finding.holds for finding in found]).argmax(axis=0).tolist()  # the first that holds
    names, (places, shares) = generator_names(batch.classes), cases.generators
    verdicts = []
    for number, (place, scored, is_demo, distribution) in enumerate(
        zip(decisive, (batch.counts > 0).tolist(), batch.is_demo.tolist(), cases.distributions.tolist(), strict=True)
    ):
        finding = found[place]
        generator = names[places[number]] if finding.decision is not Decision.AUTHENTIC else None
        verdicts.append(
            Verdict(
                decision=finding.decision,
                score=_rounded(1 - distribution[0]) if scored else None,
                class_scores=dict(zip(batch.classes, map(_rounded, distribution), strict=True)) if scored else {},
                generator=generator,
                generator_confidence=None if generator is None else _rounded(float(shares[number])),
                reasons=(finding.reason, Reason.DEMO_WEIGHTS) if is_demo else (finding.reason,),
                needs_review=finding.decision in policy.review or is_demo,
                regions=regions[number],
                policy=policy.version,
            )
        )
    return verdicts


def out_of_scope(scan: Scan, policy: Policy) -> Reason | None:
    """Why the detector cannot judge the image, whatever it answers; None when it can."""
    found = scope_findings(Cases(ScanBatch.of([scan]), policy))
    return next((finding.reason for finding in found if finding.holds[0]), None)


def wants_map(scan: Scan, policy: Policy) -> bool:
    """Whether the policy asks for scores of the tiles of `scan` that were not selected: never out of its scope."""
    if policy.localize is Localize.NEVER or scan.complete or scan.map_sampled or out_of_scope(scan, policy):
        return False
    if policy.localize is Localize.ALWAYS:
        return True
    case = Case(scan, policy)
    strongest = 1 - case.tiles[:, 0].min()
    return bool(case.evidence >= case.cases.thresholds[1][0] or strongest >= policy.region_at)


def may_show_region(scan: Scan, policy: Policy) -> bool:
    """Whether the map of `scan` can have a region: it is in scope, and a tile is as strong as a region.

    A cell of the map is a mean over tiles, so it is never stronger than the strongest of them.
    """
    return bool(may_show_regions(ScanBatch.of([scan]), policy)[0])


def may_have_region(scan: Scan, policy: Policy) -> bool:
    """Whether a region could decide: there can be one, and the verdict would be authentic without it."""
    return bool(may_have_regions(ScanBatch.of([scan]), policy)[0])


def may_show_regions(batch: ScanBatch, policy: Policy) -> NDArray[np.bool_]:
    """[N]: `may_show_region` of each scan."""
    shows = batch.strongest >= policy.region_at
    for finding in scope_findings(Cases(batch, policy)):
        shows &= ~finding.holds
    return shows


def may_have_regions(batch: ScanBatch, policy: Policy) -> NDArray[np.bool_]:
    """[N]: `may_have_region` of each scan."""
    if not policy.region_decides:
        return np.zeros(len(batch.counts), np.bool_)
    cases = Cases(batch, policy)
    return may_show_regions(batch, policy) & (cases.evidence < cases.thresholds[1])


def _rounded(probability: float) -> float:
    # Scans keep float16, which resolves probabilities to about 0.0005.
    return round(probability, 4)
