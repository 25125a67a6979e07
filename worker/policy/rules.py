"""The rules of a policy, in the order in which they are asked about scans. The first that holds decides.

Each rule is asked about many scans at once, in arrays. `worker.policy.decide` decides by them, and
`worker.policy.explain` says what each of them found about one scan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from schema.scan import Scan
from schema.scan_batch import ScanBatch
from schema.states import Decision, Reason
from schema.verdict import Region
from worker.localization.generators import generator_names, leading_generators
from worker.policy.aggregation import aggregate_each, evidence
from worker.policy.policy import Policy

Regions = tuple[Region, ...]


class Comparison(StrEnum):
    """How a rule compares its number with its threshold."""

    BELOW = "below"
    AT_LEAST = "at_least"
    IS = "is"


@dataclass(frozen=True)
class Finding:
    """What one rule found about one scan."""

    reason: Reason
    """The reason that the decision has if the rule decides; it names the rule too."""
    decision: Decision
    """What the rule decides if it holds."""
    value: float | None
    """The number that it looked at; None when it was not measured."""
    comparison: Comparison
    threshold: float
    generator: str | None
    """The generator whose thresholds apply, where the policy has some of its own for it."""
    holds: bool | None
    """None when the number was not measured: such a rule decides nothing."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What one rule found about each of N scans."""

    reason: Reason
    decision: Decision
    values: NDArray[np.floating | np.integer]
    """[N]: NaN where the number was not measured, and integers where it is a count."""
    comparison: Comparison
    thresholds: NDArray[np.float64] | float
    """[N], or the same for all."""
    asked: NDArray[np.bool_] | bool = True
    """[N]: which of the scans the rule is asked about."""
    generators: Sequence[str | None] | None = None
    """[N]: of each scan, the generator whose thresholds apply; None where that is so for none."""

    @property
    def holds(self) -> NDArray[np.bool_]:
        """[N]: whether the rule was asked, and holds."""
        return np.asarray(self._compare() & self.asked)

    def _compare(self) -> NDArray[np.bool_]:
        match self.comparison:  # NaN compares false
            case Comparison.BELOW:
                return np.asarray(self.values < self.thresholds)
            case Comparison.AT_LEAST:
                return np.asarray(self.values >= self.thresholds)
            case Comparison.IS:
                return np.asarray(self.values == self.thresholds)

    def of(self, number: int) -> Finding | None:
        """What was found about one of the scans, from 0; None where the rule is not asked about it."""
        if not np.broadcast_to(self.asked, self.values.shape)[number]:
            return None
        value = self.values[number].item()
        threshold = np.broadcast_to(self.thresholds, self.values.shape)[number].item()
        unknown = math.isnan(value)
        if isinstance(threshold, int) and not unknown:
            value = int(value)  # a whole number, held as a float because others are unknown
        return Finding(
            reason=self.reason,
            decision=self.decision,
            value=None if unknown else value,
            comparison=self.comparison,
            threshold=threshold,
            generator=None if self.generators is None else self.generators[number],
            holds=None if unknown else bool(self._compare()[number]),
        )


@dataclass(frozen=True, eq=False)
class Cases:
    """Scans under a policy, with what its rules look at. Computed when it is first asked for."""

    batch: ScanBatch
    policy: Policy

    @cached_property
    def distributions(self) -> NDArray[np.float64]:
        """[N, C]: the aggregated distributions; NaN without tiles."""
        policy, batch = self.policy, self.batch
        return aggregate_each(
            batch.tiles,
            batch.counts,
            policy.aggregate,
            trim_fraction=policy.trim_fraction,
            top_fraction=policy.top_fraction,
        )

    @cached_property
    def evidence(self) -> NDArray[np.float64]:
        """[N], 0..1: the numbers that the thresholds are compared with; NaN without tiles."""
        return evidence(self.distributions, self.policy.rule)

    @cached_property
    def generators(self) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """[N]: what the images are attributed to, and how clearly; see `leading_generators`."""
        return leading_generators(self.distributions, self.batch.classes, self.policy.generator_share)

    @cached_property
    def thresholds(self) -> tuple[NDArray[np.float64], NDArray[np.float64], Sequence[str | None] | None]:
        """[N]: `synthetic_at` and `authentic_below` of the images' generators, and of these, those that have their
        own."""
        policy, size = self.policy, len(self.batch.counts)
        if not policy.generators:
            return np.full(size, policy.synthetic_at), np.full(size, policy.authentic_below), None
        names, at, below = [], [], []
        for name in generator_names(self.batch.classes):
            own = policy.generators.get(name) if name is not None else None
            names.append(None if own is None else name)
            at.append(policy.synthetic_at if own is None or own.synthetic_at is None else own.synthetic_at)
            below.append(policy.authentic_below if own is None or own.authentic_below is None else own.authentic_below)
        places = self.generators[0]
        return np.array(at)[places], np.array(below)[places], [names[place] for place in places]


class Case:
    """One scan under a policy."""

    def __init__(self, scan: Scan, policy: Policy) -> None:
        self.cases = Cases(ScanBatch.of([scan]), policy)

    @property
    def tiles(self) -> NDArray[np.float64]:
        """[T, C]: the distributions of the tiles that make the score; T may be 0."""
        return np.asarray(self.cases.batch.tiles[0])

    @property
    def evidence(self) -> float:
        """0..1: the number that the thresholds are compared with. Only with tiles."""
        return float(self.cases.evidence[0])


def scope_findings(cases: Cases) -> Iterator[Findings]:
    """The rules by which an image is out of the detector's scope: its scores, and a map of them, mean nothing."""
    batch, policy, out = cases.batch, cases.policy, cases.policy.out_of_scope
    yield _below(Reason.TOO_SMALL, batch.counts, 1)
    if policy.minimum_tiles > 1:
        yield _below(Reason.TOO_FEW_TILES, batch.counts, policy.minimum_tiles)
    if policy.minimum_contrast > 0:
        yield _below(Reason.LOW_CONTRAST, batch.contrast, policy.minimum_contrast)
    if out.heavily_recompressed is not None:
        is_jpeg = ~batch.measured | np.isfinite(batch.jpeg_quality)  # or may be one
        yield _below(Reason.HEAVILY_RECOMPRESSED, batch.jpeg_quality, out.heavily_recompressed, is_jpeg)
    if out.likely_resized is not None:
        yield _at_least(Reason.LIKELY_RESIZED, Decision.INCONCLUSIVE, batch.resampling, out.likely_resized)
    if out.likely_illustration is not None:
        yield _at_least(Reason.LIKELY_ILLUSTRATION, Decision.INCONCLUSIVE, batch.palette_share, out.likely_illustration)


def score_findings(cases: Cases, regions: Sequence[Regions]) -> Iterator[Findings]:
    """The rules about images that have a score, in whose maps `regions` reach `region_at`. One of them holds."""
    batch, policy, out = cases.batch, cases.policy, cases.policy.out_of_scope
    scored = batch.counts > 0
    if out.tiles_disagree is not None:
        authentic = batch.tiles[..., 0]  # NaN beyond the tiles
        spread = np.fmax.reduce(authentic, 1, initial=-np.inf) - np.fmin.reduce(authentic, 1, initial=np.inf)
        yield _at_least(Reason.TILES_DISAGREE, Decision.INCONCLUSIVE, spread, out.tiles_disagree, scored)
    at, below, names = cases.thresholds
    score = cases.evidence
    yield _at_least(Reason.ABOVE_SYNTHETIC_AT, Decision.SYNTHETIC, score, at, scored, names)
    yield _at_least(Reason.BETWEEN_THRESHOLDS, Decision.INCONCLUSIVE, score, below, scored, names)
    if policy.region_decides:
        strongest = np.array([_strongest(*each, policy) for each in zip(regions, batch.pixels.tolist(), strict=True)])
        yield _at_least(Reason.SYNTHETIC_REGION, Decision.INCONCLUSIVE, strongest, policy.region_at, scored)
    if out.animated_first_frame_only:
        animated = np.where(batch.measured, batch.animated, np.nan)
        reason = Reason.ANIMATED_FIRST_FRAME_ONLY
        yield Findings(reason, Decision.INCONCLUSIVE, animated, Comparison.IS, 1.0, scored)
    reason = Reason.BELOW_AUTHENTIC_BELOW
    yield Findings(reason, Decision.AUTHENTIC, score, Comparison.BELOW, below, scored, names)


def all_findings(cases: Cases, regions: Sequence[Regions]) -> Iterator[Findings]:
    """Every rule of the policy, in order. Of each scan at least one holds."""
    yield from scope_findings(cases)
    yield from score_findings(cases, regions)


def findings(case: Case, regions: Regions) -> Iterator[Finding]:
    """Every rule of the policy, in order, as far as the scan has what it looks at. At least one holds."""
    found = (each.of(0) for each in all_findings(case.cases, [regions]))
    yield from (finding for finding in found if finding is not None)


def _strongest(regions: Regions, pixels: int, policy: Policy) -> float:
    """The highest score of a region that is large enough; 0 without one."""
    wide = (region for region in regions if _area(region, pixels) >= policy.region_minimum_area)
    strongest = max((region.score for region in wide), default=0.0)
    # A region has been found at `region_at` before its score was rounded.
    return max(strongest, policy.region_at) if strongest else 0.0


def _area(region: Region, pixels: int) -> float:
    """Share of the image, 0..1; that of the rectangle where no outline was stored."""
    return region.width * region.height / pixels if region.area is None else region.area


def _below(
    reason: Reason,
    values: NDArray[np.floating | np.integer],
    threshold: float,
    asked: NDArray[np.bool_] | bool = True,
) -> Findings:
    return Findings(reason, Decision.INCONCLUSIVE, values, Comparison.BELOW, threshold, asked)


def _at_least(
    reason: Reason,
    decision: Decision,
    values: NDArray[np.float64],
    thresholds: NDArray[np.float64] | float,
    asked: NDArray[np.bool_] | bool = True,
    generators: Sequence[str | None] | None = None,
) -> Findings:
    return Findings(reason, decision, values, Comparison.AT_LEAST, thresholds, asked, generators)
