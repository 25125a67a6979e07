"""From the distributions of tiles to one distribution, and from that to the number that thresholds look at."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from worker.policy.policy import Aggregation, Rule

TRIM_FRACTION = 0.2
TOP_FRACTION = 0.4
_EXACT = 1e-9
"""0.2 × 5 is one tile, whatever its last bit."""


def aggregate(
    tiles: NDArray[np.float64],
    how: Aggregation,
    *,
    trim_fraction: float = TRIM_FRACTION,
    top_fraction: float = TOP_FRACTION,
) -> NDArray[np.float64]:
    """One distribution [C] from the tiles' distributions [T, C], T ≥ 1. Its sum is that of a tile's distribution."""
    if how is Aggregation.MEAN:
        return np.asarray(tiles.mean(axis=0))
    by_score = tiles[np.argsort(1 - tiles[:, 0], kind="stable")]
    if how is Aggregation.MAX:
        return np.asarray(by_score[-1])
    count = len(tiles)
    match how:
        case Aggregation.TRIMMED_MEAN:
            cut = math.floor(trim_fraction * count + _EXACT)
            kept = slice(cut, count - cut)
        case Aggregation.TOP_FRACTION:
            kept = slice(count - max(1, math.ceil(top_fraction * count - _EXACT)), count)
        case _:
            kept = slice((count - 1) // 2, count // 2 + 1)
    return np.asarray(by_score[kept].mean(axis=0))


def evidence(distributions: NDArray[np.float64], rule: Rule) -> NDArray[np.float64]:
    """The number in 0..1 that thresholds are compared with, for one distribution [C] or many [..., C]; see `Rule`."""
    authentic = distributions[..., 0]
    if rule is Rule.SUM:
        return np.asarray(1 - authentic)
    strongest = distributions[..., 1:].max(axis=-1)
    return np.asarray(strongest / (strongest + authentic))
