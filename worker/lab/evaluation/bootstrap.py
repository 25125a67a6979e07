"""The uncertainty of figures from the choice of test pictures: the cluster bootstrap, 95 % percentile intervals.

Pictures are drawn with replacement, each with all its images and patches: images of one picture (re-encoded, or rebuilt
from it) err together, and resampling them one by one would make intervals too narrow (Field and Welsh 2007,
"Bootstrapping clustered data").

Figures that depend on counts alone are computed from the confusion matrices of all resamples at once. scikit-learn
computes the figures themselves, for one set of predictions at a time; tests compare both forms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.lab.intervals import exact_interval

_CHUNK = 50  # resamples in memory at a time

Matrices = NDArray[np.float64]
"""[..., K, K]: how many items of a true class (row) were predicted as a class (column)."""


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
        """How often each picture is in each resample, in chunks [≤ 50, pictures]; the same for the same seed."""
        generator = np.random.default_rng(self.seed)
        for start in range(0, self.resamples, _CHUNK):
            drawn = generator.integers(pictures, size=(min(_CHUNK, self.resamples - start), pictures))
            yield np.stack([np.bincount(row, minlength=pictures) for row in drawn]).astype(np.float64)

    def tables(
        self, pictures: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Contingency tables [B, *shape] of B resamples: how many items have a row and a column.

        `pictures`, `rows` and `columns` are [N], one number per item.
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

    Where all resamples agree there is no interval: a figure that did not vary here may vary elsewhere.
    """
    known = resampled[np.isfinite(resampled)]
    if value is None or not len(known) or known.min() == known.max():
        return Estimate(value)
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def estimate_share(value: float, resampled: NDArray[np.float64], pictures: int) -> Estimate:
    """A share of items that show `pictures` different pictures, with its interval, widened where it is 0 or 1.

    A resample of successes has no failure, so the bootstrap would claim certainty. There the other end is that of the
    exact binomial interval (Clopper and Pearson 1934), as if each picture had been one item.
    """
    if 0 < value < 1 or not len(resampled):
        return estimate(value, resampled)
    low, high = exact_interval(0 if value == 0 else pictures, pictures)
    return Estimate(value, low, high)


def complement(share: Estimate) -> Estimate:
    """1 − share, and its interval."""
    value, low, high = (None if end is None else 1 - end for end in (share.value, share.high, share.low))
    return Estimate(value, low, high)


def recalls(matrices: Matrices) -> NDArray[np.float64]:
    """Of each class, [..., K, K] → [..., K]; NaN for a class without items."""
    return _ratio(_correct(matrices), matrices.sum(axis=-1))


def precisions(matrices: Matrices) -> NDArray[np.float64]:
    """Of each class, [..., K, K] → [..., K]; NaN for a class that is never predicted."""
    return _ratio(_correct(matrices), matrices.sum(axis=-2))


def f1s(matrices: Matrices) -> NDArray[np.float64]:
    """Of each class, [..., K, K] → [..., K]; NaN for a class without items."""
    items = matrices.sum(axis=-1)
    scores = _ratio(2 * _correct(matrices), items + matrices.sum(axis=-2))
    return np.where(items > 0, scores, np.nan)


def accuracies(matrices: Matrices) -> NDArray[np.float64]:
    """[..., K, K] → [...]."""
    return _ratio(_correct(matrices).sum(axis=-1), matrices.sum(axis=(-2, -1)))


def macro_f1s(matrices: Matrices) -> NDArray[np.float64]:
    """The mean over the classes with items, [..., K, K] → [...]."""
    scores = f1s(matrices)
    present = np.isfinite(scores)
    return _ratio(np.where(present, scores, 0).sum(axis=-1), present.sum(axis=-1).astype(np.float64))


def _correct(matrices: Matrices) -> NDArray[np.float64]:
    return np.asarray(matrices.diagonal(axis1=-2, axis2=-1))


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
