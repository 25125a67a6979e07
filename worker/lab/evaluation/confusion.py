"""Figures of confusion matrices, of as many at once as there are resamples.

scikit-learn computes the figures themselves, one set of answers at a time; a thousand resamples need this form. Both
agree (`tests/lab/evaluation/test_detection.py`, `test_recognition.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrices = NDArray[np.float64]
"""[..., K, K] how many items of a true class (row) were answered with a class (column)."""


def recalls(matrices: Matrices) -> NDArray[np.float64]:
    """Of each class, [..., K, K] → [..., K]; NaN for a class that no item has."""
    return _ratio(_hits(matrices), matrices.sum(axis=-1))


def precisions(matrices: Matrices) -> NDArray[np.float64]:
    """Of each class, [..., K, K] → [..., K]; NaN for a class that is never answered."""
    return _ratio(_hits(matrices), matrices.sum(axis=-2))


def f1s(matrices: Matrices) -> NDArray[np.float64]:
    """Of each class, [..., K, K] → [..., K]; NaN for a class that no item has."""
    items = matrices.sum(axis=-1)
    scores = _ratio(2 * _hits(matrices), items + matrices.sum(axis=-2))
    return np.where(items > 0, scores, np.nan)


def accuracies(matrices: Matrices) -> NDArray[np.float64]:
    """[..., K, K] → [...]."""
    return _ratio(_hits(matrices).sum(axis=-1), matrices.sum(axis=(-2, -1)))


def macro_f1s(matrices: Matrices) -> NDArray[np.float64]:
    """The mean over the classes that an item has, [..., K, K] → [...]."""
    scores = f1s(matrices)
    present = np.isfinite(scores)
    return _ratio(np.where(present, scores, 0).sum(axis=-1), present.sum(axis=-1).astype(np.float64))


def _hits(matrices: Matrices) -> NDArray[np.float64]:
    return np.asarray(matrices.diagonal(axis1=-2, axis2=-1))


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
