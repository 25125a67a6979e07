"""The rules of a policy, in the order in which they are asked about a scan. The first that holds decides.

`worker.policy.decide` decides by them, and `worker.policy.explain` says what each of them found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from schema.scan import Scan
from schema.states import Decision, Reason
from schema.verdict import Region
from worker.localization.generators import leading_generator
from worker.policy.aggregation import aggregate, evidence
from worker.policy.policy import Policy


class Comparison(StrEnum):
    """How a rule compares its number with its threshold."""

    BELOW = "below"
    AT_LEAST = "at_least"
    IS = "is"


@dataclass(frozen=True)
class Finding:
    """What one rule found."""

    reason: Reason
    """The reason that the decision has if the rule decides; it names the rule too."""
    decision: Decision
    """What the rule decides if it holds."""
    value: float | None
    """The number that it looked at; None when it was not measured."""
    comparison: Comparison
    threshold: float
    generator: str | None = None
    """The generator whose thresholds apply, where the policy has some of its own for it."""
    holds: bool | None = field(init=False)
    """None when the number was not measured: such a rule decides nothing."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "holds", self._compare())

    def _compare(self) -> bool | None:
        if self.value is None:
            return None
        match self.comparison:
            case Comparison.BELOW:
                return self.value < self.threshold
            case Comparison.AT_LEAST:
                return self.value >= self.threshold
            case Comparison.IS:
                return self.value == self.threshold


@dataclass(frozen=True)
class Case:
    """A scan under a policy, with what its rules look at. Computed when it is first asked for."""

    scan: Scan
    policy: Policy

    @cached_property
    def tiles(self) -> NDArray[np.float64]:
        """[T, C]: the distributions of the tiles that make the score; T may be 0."""
        return self.scan.probabilities[self.scan.selected & self.scan.scored].astype(np.float64)

    @cached_property
    def distribution(self) -> NDArray[np.float64]:
        """[C]: the aggregated distribution. Only with tiles."""
        policy = self.policy
        return aggregate(
            self.tiles, policy.aggregate, trim_fraction=policy.trim_fraction, top_fraction=policy.top_fraction
        )

    @cached_property
    def evidence(self) -> float:
        """0..1: the number that the thresholds are compared with. Only with tiles."""
        return float(evidence(self.distribution, self.policy.rule))

    @cached_property
    def generator(self) -> tuple[str | None, float | None]:
        """What the image is attributed to, and how clearly, 0..1; see `Verdict`. Only with tiles."""
        return leading_generator(self.distribution, self.scan.model.classes, self.policy.generator_share)

    @cached_property
    def thresholds(self) -> tuple[float, float, str | None]:
        """`synthetic_at` and `authentic_below` of the image's generator, which is named if it has its own."""
        policy = self.policy
        if policy.generators and (named := self.generator[0]) in policy.generators:
            own = policy.generators[named]
            at = policy.synthetic_at if own.synthetic_at is None else own.synthetic_at
            below = policy.authentic_below if own.authentic_below is None else own.authentic_below
            return at, below, named
        return policy.synthetic_at, policy.authentic_below, None


def scope_findings(case: Case) -> Iterator[Finding]:
    """The rules by which an image is out of the detector's scope: its scores, and a map of them, mean nothing."""
    scan, policy, out = case.scan, case.policy, case.policy.out_of_scope
    scored = len(case.tiles)
    yield _below(Reason.TOO_SMALL, scored, 1)
    if policy.minimum_tiles > 1:
        yield _below(Reason.TOO_FEW_TILES, scored, policy.minimum_tiles)
    if policy.minimum_contrast > 0:
        contrast = float(scan.contrast.max()) if len(scan.contrast) else None
        yield _below(Reason.LOW_CONTRAST, contrast, policy.minimum_contrast)
    signals = scan.signals
    if out.heavily_recompressed is not None and (signals is None or signals.jpeg_quality is not None):
        quality = None if signals is None else signals.jpeg_quality
        yield _below(Reason.HEAVILY_RECOMPRESSED, quality, out.heavily_recompressed)
    if out.likely_resized is not None:
        resampling = None if signals is None else signals.resampling
        yield _at_least(Reason.LIKELY_RESIZED, Decision.INCONCLUSIVE, resampling, out.likely_resized)
    if out.likely_illustration is not None:
        palette = None if signals is None else signals.palette_share
        yield _at_least(Reason.LIKELY_ILLUSTRATION, Decision.INCONCLUSIVE, palette, out.likely_illustration)


def score_findings(case: Case, regions: tuple[Region, ...]) -> Iterator[Finding]:
    """The rules about an image that has a score, in whose map `regions` reach `region_at`. One of them holds."""
    scan, policy, out = case.scan, case.policy, case.policy.out_of_scope
    if out.tiles_disagree is not None:
        authentic = case.tiles[:, 0]
        spread = float(authentic.max() - authentic.min())
        yield _at_least(Reason.TILES_DISAGREE, Decision.INCONCLUSIVE, spread, out.tiles_disagree)
    synthetic_at, authentic_below, generator = case.thresholds
    yield _at_least(Reason.ABOVE_SYNTHETIC_AT, Decision.SYNTHETIC, case.evidence, synthetic_at, generator)
    yield _at_least(Reason.BETWEEN_THRESHOLDS, Decision.INCONCLUSIVE, case.evidence, authentic_below, generator)
    if policy.region_decides:
        wide = (region for region in regions if _area(region, scan) >= policy.region_minimum_area)
        strongest = max((region.score for region in wide), default=0.0)
        # A region has been found at `region_at` before its score was rounded.
        value = max(strongest, policy.region_at) if strongest else 0.0
        yield _at_least(Reason.SYNTHETIC_REGION, Decision.INCONCLUSIVE, value, policy.region_at)
    if out.animated_first_frame_only:
        animated = None if scan.signals is None else float(scan.signals.animated)
        yield Finding(Reason.ANIMATED_FIRST_FRAME_ONLY, Decision.INCONCLUSIVE, animated, Comparison.IS, 1.0)
    yield Finding(
        Reason.BELOW_AUTHENTIC_BELOW, Decision.AUTHENTIC, case.evidence, Comparison.BELOW, authentic_below, generator
    )


def findings(case: Case, regions: tuple[Region, ...]) -> Iterator[Finding]:
    """Every rule of the policy, in order, as far as the scan has what it looks at. At least one holds."""
    yield from scope_findings(case)
    if len(case.tiles):
        yield from score_findings(case, regions)


def _area(region: Region, scan: Scan) -> float:
    """Share of the image, 0..1; that of the rectangle where no outline was stored."""
    if region.area is not None:
        return region.area
    return region.width * region.height / (scan.width * scan.height)


def _below(reason: Reason, value: float | None, threshold: float) -> Finding:
    return Finding(reason, Decision.INCONCLUSIVE, value, Comparison.BELOW, threshold)


def _at_least(
    reason: Reason, decision: Decision, value: float | None, threshold: float, generator: str | None = None
) -> Finding:
    return Finding(reason, decision, value, Comparison.AT_LEAST, threshold, generator)
