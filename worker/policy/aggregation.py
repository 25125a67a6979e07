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
    fractions = {"trim_fraction": trim_fraction, "top_fraction": top_fraction}
    return np.asarray(aggregate_each(tiles[None], np.array([len(tiles)]), how, **fractions)[0])


def aggregate_each(
    tiles: NDArray[np.float64],
    counts: NDArray[np.intp],
    how: Aggregation,
    *,
    trim_fraction: float = TRIM_FRACTION,
    top_fraction: float = TOP_FRACTION,
) -> NDArray[np.float64]:
    """A distribution [N, C] for each of N images from its first `counts` [N] of `tiles` [N, K, C].

    NaN where an image has no tile.
    """
    places = np.arange(tiles.shape[1])
    present = places < counts[:, None]
    if how is Aggregation.MEAN:
        first, end = np.zeros_like(counts), counts
    else:
        order = np.argsort(np.where(present, 1 - tiles[..., 0], np.inf), axis=1, kind="stable")
        tiles = np.take_along_axis(tiles, order[..., None], axis=1)
        first, end = _kept(counts, how, trim_fraction, top_fraction)
    kept = (places >= first[:, None]) & (places < end[:, None])
    sums = np.where(kept[..., None], tiles, 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / (end - first)[:, None])


def _kept(
    counts: NDArray[np.intp], how: Aggregation, trim_fraction: float, top_fraction: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first of the tiles, by score, whose mean is wanted, and the one after the last; none of no tiles."""
    each, inverse = np.unique(counts, return_inverse=True)
    ranges = np.array([_kept_of(int(count), how, trim_fraction, top_fraction) for count in each], np.intp)
    first, end = ranges.reshape(-1, 2)[inverse].T
    return first, end


def _kept_of(count: int, how: Aggregation, trim_fraction: float, top_fraction: float) -> tuple[int, int]:
    if count == 0:
        return 0, 0
    match how:
        case Aggregation.MAX:
            return count - 1, count
        case Aggregation.TRIMMED_MEAN:
            cut = math.floor(trim_fraction * count + _EXACT)
            return cut, count - cut
        case Aggregation.TOP_FRACTION:
            return count - max(1, math.ceil(top_fraction * count - _EXACT)), count
        case _:
            return (count - 1) // 2, count // 2 + 1


def evidence(distributions: NDArray[np.float64], rule: Rule) -> NDArray[np.float64]:
    """The number in 0..1 that thresholds are compared with, for one distribution [C] or many [..., C]; see `Rule`."""
    authentic = distributions[..., 0]
    if rule is Rule.SUM:
        return np.asarray(1 - authentic)
    strongest = distributions[..., 1:].max(axis=-1)
    return np.asarray(strongest / (strongest + authentic))
