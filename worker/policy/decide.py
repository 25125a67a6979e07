"""From a scan to a verdict. Pure: the same scan, policy and regions always give the same verdict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schema.scan import Scan
from schema.states import Decision, Reason
from schema.verdict import Region, Verdict
from worker.localization.generators import leading_generator
from worker.policy.policy import Aggregation, Localize, Policy, Rule

MAP_REASONS = (Reason.BELOW_AUTHENTIC_BELOW, Reason.SYNTHETIC_REGION)
"""The reasons between which the map decides; no other decision depends on it."""


def decide(scan: Scan, policy: Policy, regions: tuple[Region, ...]) -> Verdict:
    """What `policy` decides about `scan`, whose map reaches `policy.region_at` in `regions`."""
    tiles = scan.probabilities[scan.selected & scan.scored].astype(np.float64)
    distribution = aggregate(tiles, policy.aggregate) if len(tiles) else None
    decision, reason = _decide(scan, policy, distribution, has_region=bool(regions))
    generator, confidence = None, None
    if distribution is not None and decision is not Decision.AUTHENTIC:
        generator, confidence = leading_generator(distribution, scan.model.classes, policy.generator_share)
    return Verdict(
        decision=decision,
        score=None if distribution is None else _rounded(1 - distribution[0]),
        class_scores={}
        if distribution is None
        else {name: _rounded(p) for name, p in zip(scan.model.classes, distribution, strict=True)},
        generator=generator,
        generator_confidence=confidence,
        reasons=(reason, Reason.DEMO_WEIGHTS) if scan.model.is_demo else (reason,),
        needs_review=decision in policy.review or scan.model.is_demo,
        regions=regions,
        policy=policy.version,
    )


def out_of_scope(scan: Scan, policy: Policy) -> Reason | None:
    """Why the detector cannot judge the image, whatever it answers; None when it can."""
    tile_count = int((scan.selected & scan.scored).sum())
    if tile_count == 0:
        return Reason.TOO_SMALL
    if tile_count < policy.minimum_tiles:
        return Reason.TOO_FEW_TILES
    return Reason.LOW_CONTRAST if scan.contrast.max() < policy.minimum_contrast else None


def wants_map(scan: Scan, policy: Policy) -> bool:
    """Whether the policy asks for scores of the tiles of `scan` that were not selected: never out of its scope."""
    if policy.localize is Localize.NEVER or scan.complete or scan.map_sampled or out_of_scope(scan, policy):
        return False
    if policy.localize is Localize.ALWAYS:
        return True
    tiles = scan.probabilities[scan.selected & scan.scored].astype(np.float64)
    strongest = aggregate(tiles, Aggregation.MAX)
    return bool(
        evidence(aggregate(tiles, policy.aggregate), policy.rule) >= policy.authentic_below
        or 1 - strongest[0] >= policy.region_at
    )


def may_have_region(scan: Scan, policy: Policy) -> bool:
    """Whether a region could decide: the verdict would be authentic without one, and a tile is as strong as a region.

    A cell of the map is a mean over tiles, so it is never stronger than the strongest of them.
    """
    if out_of_scope(scan, policy):
        return False
    tiles = scan.probabilities[scan.selected & scan.scored].astype(np.float64)
    return bool(
        evidence(aggregate(tiles, policy.aggregate), policy.rule) < policy.authentic_below
        and 1 - float(scan.probabilities[scan.scored, 0].min()) >= policy.region_at
    )


def aggregate(tiles: NDArray[np.float64], how: Aggregation) -> NDArray[np.float64]:
    """One distribution [C] from the tiles' distributions [T, C], T ≥ 1. Its sum is that of a tile's distribution."""
    if how is Aggregation.MEAN:
        return np.asarray(tiles.mean(axis=0))
    by_score = tiles[np.argsort(1 - tiles[:, 0], kind="stable")]
    if how is Aggregation.MAX:
        return np.asarray(by_score[-1])
    middle = slice((len(tiles) - 1) // 2, len(tiles) // 2 + 1)
    return np.asarray(by_score[middle].mean(axis=0))


def evidence(distributions: NDArray[np.float64], rule: Rule) -> NDArray[np.float64]:
    """The number in 0..1 that thresholds are compared with, for one distribution [C] or many [..., C]; see `Rule`."""
    authentic = distributions[..., 0]
    if rule is Rule.SUM:
        return np.asarray(1 - authentic)
    strongest = distributions[..., 1:].max(axis=-1)
    return np.asarray(strongest / (strongest + authentic))


def _decide(
    scan: Scan, policy: Policy, distribution: NDArray[np.float64] | None, *, has_region: bool
) -> tuple[Decision, Reason]:
    reason = out_of_scope(scan, policy)
    if distribution is None or reason is not None:
        return Decision.INCONCLUSIVE, reason or Reason.TOO_SMALL
    weight = evidence(distribution, policy.rule)
    if weight >= policy.synthetic_at:
        return Decision.SYNTHETIC, Reason.ABOVE_SYNTHETIC_AT
    if weight >= policy.authentic_below:
        return Decision.INCONCLUSIVE, Reason.BETWEEN_THRESHOLDS
    if has_region:
        return Decision.INCONCLUSIVE, Reason.SYNTHETIC_REGION
    return Decision.AUTHENTIC, Reason.BELOW_AUTHENTIC_BELOW


def _rounded(probability: float) -> float:
    # Scans keep float16, which resolves probabilities to about 0.0005.
    return round(float(probability), 4)
