"""Intervals of shares: the exact ones of Clopper and Pearson (1934), and their form for weighted and grouped items.

Items that were drawn with different probabilities have weights, and items of one group err together. Both make a
share less certain than its number of items says. As Fay and Feuer (1997) do for rates, the bound on one side counts
one more group of the heaviest mass there is, and each side is a gamma variable with the mean and the variance of its
masses. The ratio of two such variables has a beta distribution up to a factor, so the bounds need no resampling. With
equal weights and one item per group they are those of Clopper and Pearson.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
"""Of the intervals: the interval contains the true share in at least 95 of 100 samples."""


@dataclass(frozen=True, eq=False)
class Mass:
    """The weights of items, summed; each a number, or an array of one shape."""

    total: ArrayLike
    """Sum over the items."""
    squares: ArrayLike
    """Sum of the squares of the groups' sums; the number of items where all weigh 1 and none share a group."""


def upper_bound(part: Mass, rest: Mass, heaviest: ArrayLike, confidence: float = CONFIDENCE) -> NDArray[np.float64]:
    """The bound that the true share of `part` in both exceeds with probability 1 − `confidence` at most, one-sided.

    `heaviest` is the largest sum of a group in both. 1 where `rest` is empty.
    """
    from scipy.special import betaincinv

    total, squares, other, other_squares, most = np.broadcast_arrays(
        *(np.asarray(of, np.float64) for of in (part.total, part.squares, rest.total, rest.squares, heaviest))
    )
    bound = np.ones(total.shape)
    some = other > 0
    mass = total[some] + most[some]
    unit, other_unit = (squares[some] + most[some] ** 2) / mass, other_squares[some] / other[some]
    quantile = betaincinv(mass / unit, other[some] / other_unit, confidence)
    ratio = unit * quantile
    bound[some] = ratio / (ratio + other_unit * (1 - quantile))
    return bound


def interval(
    part: Mass, rest: Mass, heaviest: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two-sided interval of the share of `part` in both; (0, 1) of nothing."""
    one_sided = (1 + confidence) / 2
    return 1 - upper_bound(rest, part, heaviest, one_sided), upper_bound(part, rest, heaviest, one_sided)


def exact_interval(count: int, of: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper's and Pearson's interval of `count` successes in `of` trials; (0, 1) of none."""
    low, high = interval(Mass(count, count), Mass(of - count, of - count), 1, confidence)
    return float(low), float(high)


def trials_needed(share: float, confidence: float = CONFIDENCE) -> int:
    """How many trials without a success bound a share by `share` (0..1, exclusive), one-sided."""
    return int(np.ceil(np.log(1 - confidence) / np.log1p(-share) - 1e-9))


def sum_groups(groups: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mass of each group, by the order of the groups; empty of nothing."""
    if not len(groups):
        return np.empty(0)
    _, places = np.unique(groups, return_inverse=True)
    return np.bincount(places, weights).astype(np.float64)
