"""How much lies at or above each threshold, for all thresholds at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.lab.intervals import Mass, sum_groups
from worker.lab.thresholds.labelled import Labelled

GRID: NDArray[np.float64] = np.arange(10_001) / 10_000
"""Thresholds that can be chosen: people read and copy them. Scans resolve scores to about 0.0005."""


@dataclass(frozen=True, eq=False)
class Tail:
    """The items of one kind, by threshold. The arrays are [T], one place per threshold."""

    count: int
    above_count: NDArray[np.int64]
    above: Mass
    """Scores at or above the threshold."""
    below: Mass
    heaviest: float
    """The largest mass of a group; 0 of nothing."""

    total: float
    """The mass of all items."""
    squares: float
    """The squares of the groups' masses, summed."""

    def at(self, place: int) -> tuple[Mass, Mass]:
        """Above and below one threshold."""
        return _pick(self.above, place), _pick(self.below, place)


def tail_of(items: Labelled, thresholds: NDArray[np.float64] = GRID) -> Tail:
    """Of items of one kind, for ascending thresholds."""
    order = np.argsort(items.scores, kind="stable")
    scores, weights = items.scores[order], items.weights[order]
    _, groups = np.unique(items.groups[order], return_inverse=True)
    split = np.searchsorted(scores, thresholds, side="left")  # items below each threshold
    below = _running(weights, groups)
    above = _running(weights[::-1], groups[::-1])
    at_above = len(scores) - split
    return Tail(
        count=len(items),
        above_count=at_above,
        above=Mass(above[0][at_above], above[1][at_above]),
        below=Mass(below[0][split], below[1][split]),
        total=float(below[0][-1]),
        squares=float(below[1][-1]),
        heaviest=float(sum_groups(items.groups, items.weights).max(initial=0.0)),
    )


def _running(weights: NDArray[np.float64], groups: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[N + 1] sums of the first 0, 1, …, N weights, and of the squares of their groups' sums."""
    by_group = np.argsort(groups, kind="stable")
    sums = np.cumsum(weights[by_group])
    starts = np.searchsorted(groups[by_group], groups[by_group], side="left")
    before = np.empty(len(weights))
    before[by_group] = sums - weights[by_group] - np.concatenate([[0.0], sums])[starts]
    squares = weights * (2 * before + weights)  # (before + weight)² − before²
    return np.concatenate([[0.0], np.cumsum(weights)]), np.concatenate([[0.0], np.cumsum(squares)])


def _pick(mass: Mass, place: int) -> Mass:
    return Mass(np.asarray(mass.total)[place], np.asarray(mass.squares)[place])
