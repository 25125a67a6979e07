"""How far figures would move had other pictures been in the test: the cluster bootstrap, 95 % percentile intervals.

Pictures are drawn with replacement, each with all its images and patches: images of one picture (other encodings of it,
or rebuilt from it) err together, and resampling them one by one would make intervals too narrow (Field and Welsh 2007,
"Bootstrapping clustered data"). Figures that depend on counts alone are computed for all resamples at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 50  # resamples in memory together: the memory does not grow with their number


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; None where there is nothing to compute it from."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bootstrap:
    """How often and from which seed pictures are resampled; 0 resamples give no intervals."""

    resamples: int = 1000
    seed: int = 0

    def draws(self, pictures: int) -> Iterator[NDArray[np.float64]]:
        """How often each picture comes in each resample, in chunks [≤ 50, pictures]; the same for the same seed."""
        generator = np.random.default_rng(self.seed)
        for start in range(0, self.resamples, _AT_ONCE):
            drawn = generator.integers(pictures, size=(min(_AT_ONCE, self.resamples - start), pictures))
            yield np.stack([np.bincount(row, minlength=pictures) for row in drawn]).astype(np.float64)

    def tables(
        self, pictures: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Contingency tables [B, *shape] of B resamples: how many items have a row and a column.

        `pictures`, `rows` and `columns` are [N], one number an item.
        """
        count = int(pictures.max(initial=-1)) + 1
        if count < 2 or not self.resamples:
            return np.empty((0, *shape))
        cells = shape[0] * shape[1]
        places = (pictures * shape[0] + rows) * shape[1] + columns
        of_pictures = np.bincount(places, minlength=count * cells).reshape(count, cells).astype(np.float64)
        return np.concatenate([draw @ of_pictures for draw in self.draws(count)]).reshape(-1, *shape)


def estimate(value: float | None, resampled: NDArray[np.float64]) -> Estimate:
    """`value` with the 2.5th and 97.5th percentile of `resampled` [B]; resamples without the figure are left out.

    Where all resamples agree there is no interval: what never varied here may vary elsewhere.
    """
    known = resampled[np.isfinite(resampled)]
    if value is None or not len(known) or known.min() == known.max():
        return Estimate(value)
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def share(value: float, resampled: NDArray[np.float64], pictures: int) -> Estimate:
    """A share of items that show so many `pictures`, with its interval, widened where it is 0 or 1.

    No resample of hits alone has a miss, so the bootstrap would claim certainty. There the other end comes from the
    exact binomial interval (Clopper and Pearson 1934), as if each picture had been one item.
    """
    if 0 < value < 1 or not len(resampled):
        return estimate(value, resampled)
    unseen = 1 - 0.025 ** (1 / pictures)
    return Estimate(0.0, 0.0, unseen) if value == 0 else Estimate(1.0, 1 - unseen, 1.0)
