"""Two precisions of the same weights on the same images: which decisions flip, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.lab.evaluation.detection import HALF
from worker.lab.evaluation.evaluate import Evaluation
from worker.lab.evaluation.items import Items, Level
from worker.lab.evaluation.tables import LEVELS, Table
from worker.lab.intervals import Mass, interval, sum_groups


@dataclass(frozen=True)
class Flips:
    """How one precision's answers differ from another one's, for one variant and level."""

    variant: str
    level: Level
    count: int
    """Images, or patches."""
    to_synthetic: int
    """Authentic in the first precision, synthetic in the second, both at the threshold 0.5."""
    to_authentic: int
    low: float
    """The interval of the share that flips. Items of one picture flip together, which widens it."""
    high: float
    other_class: int
    """How many have another most probable class."""
    largest: float
    """Largest difference of a class's probability."""
    mean: float
    """Mean difference of the score."""

    @property
    def share(self) -> float:
        """The share that flips, 0..1; 0 of none."""
        return (self.to_synthetic + self.to_authentic) / self.count if self.count else 0.0


@dataclass(frozen=True)
class Comparison:
    """Two precisions."""

    first: str
    second: str
    flips: tuple[Flips, ...]

    @classmethod
    def of(cls, first: Evaluation, second: Evaluation) -> Comparison:
        """Of two evaluations of the same images with the same options."""
        pairs = zip(first.variants, second.variants, strict=True)
        flips = tuple(
            compare(str(one.variant), one.items[level], other.items[level]) for one, other in pairs for level in LEVELS
        )
        return cls(str(first.scorer.identity.precision), str(second.scorer.identity.precision), flips)

    def document(self) -> dict[str, Any]:
        """Ready for JSON."""
        flips = [{**asdict(one), "level": str(one.level), "share": one.share} for one in self.flips]
        return {"first": self.first, "second": self.second, "flips": flips}


def compare(variant: str, first: Items, second: Items) -> Flips:
    """Rows of the same images in the same order. Raises `ValueError` if they are not."""
    if first.entries != second.entries:
        raise ValueError("the two evaluations are not of the same images")
    before, after = first.scores >= HALF, second.scores >= HALF
    low, high = _interval(before != after, first.pictures)
    differs = len(first) > 0
    return Flips(
        variant=variant,
        level=first.level,
        count=len(first),
        to_synthetic=int((~before & after).sum()),
        to_authentic=int((before & ~after).sum()),
        low=low,
        high=high,
        other_class=int((first.predicted != second.predicted).sum()) if differs else 0,
        largest=float(np.abs(first.probabilities - second.probabilities).max()) if differs else 0.0,
        mean=float(np.abs(first.scores - second.scores).mean()) if differs else 0.0,
    )


def _interval(flipped: NDArray[np.bool_], pictures: NDArray[np.int64]) -> tuple[float, float]:
    """Of the share of True, where rows of one picture are a group."""
    part, rest = (sum_groups(pictures[rows], np.ones(int(rows.sum()))) for rows in (flipped, ~flipped))
    heaviest = sum_groups(pictures, np.ones(len(pictures))).max(initial=1.0)
    low, high = interval(Mass(part.sum(), np.square(part).sum()), Mass(rest.sum(), np.square(rest).sum()), heaviest)
    return float(low), float(high)


def table(comparisons: Sequence[Comparison]) -> Table:
    """One row per precision, variant and level."""
    rows = tuple(
        (
            f"{compared.first} → {compared.second}",
            one.variant,
            LEVELS[one.level],
            f"{one.count:,}",
            f"{one.share:.4f} [{one.low:.4f}, {one.high:.4f}]",
            f"{one.to_synthetic:,}",
            f"{one.to_authentic:,}",
            f"{one.other_class:,}",
            f"{one.largest:.2g}",
            f"{one.mean:.2g}",
        )
        for compared in comparisons
        for one in compared.flips
    )
    columns = (
        "precisions", "variant", "per", "count", "flip", "to synthetic", "to authentic", "other class",
        "largest difference", "mean",
    )  # fmt: skip
    return Table("Decisions that flip with the precision, at 0.5", columns, rows)
