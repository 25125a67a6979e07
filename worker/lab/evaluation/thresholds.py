"""Where to draw the line: the threshold of highest accuracy, and those that bound false positives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.lab.evaluation.items import Items

HALF = 0.5
"""Where each of the card's two rules is exactly the card's detector."""
SUGGESTED_RATES = (0.01, 0.001)
"""False positive rates for which thresholds are suggested."""

_STEP = 1e-4  # thresholds people can read and copy


def best_threshold(items: Items) -> float | None:
    """The threshold of highest accuracy, midway between the scores it parts; None unless there are both kinds.

    Of equally good ones, the nearest to 0.5. The card reports accuracy at such a threshold.
    """
    from sklearn.metrics import roc_curve

    synthetic = int(items.synthetic.sum())
    authentic = len(items) - synthetic
    if not synthetic or not authentic:
        return None
    # Sensitivity and false positive rate of calling synthetic what scores a level or more, from the highest level down.
    false, true, _ = roc_curve(items.synthetic, items.scores, drop_intermediate=False)
    right = true * synthetic + (1 - false) * authentic
    levels = np.concatenate([[1 + _STEP], np.unique(items.scores)[::-1], [0.0]])
    between = (levels[:-1] + levels[1:]) / 2
    best = between[np.isclose(right, right.max(), rtol=0, atol=1e-6)]
    return float(best[np.abs(best - HALF).argmin()])


@dataclass(frozen=True)
class Suggestion:
    """A threshold that bounds false positives on some authentic images."""

    rate: float
    """The largest share of authentic images that may be called synthetic."""
    threshold: float | None
    """None when the images do not support a claim; `why` says so."""
    false_positives: int
    images: int
    """Authentic images it rests on."""
    pictures: int
    """How many different pictures these show."""
    why: str = ""


def suggest(items: Items, rate: float) -> Suggestion:
    """The lowest threshold, in steps of 0.0001, at which at most `rate` of the authentic items are called synthetic.

    Refuses to claim a rate below one in the number of authentic pictures: nothing that rare was looked for.
    """
    authentic = ~items.synthetic
    scores: NDArray[np.float64] = np.sort(items.scores[authentic])[::-1]
    pictures = len(np.unique(items.pictures[authentic]))
    if pictures < math.ceil(1 / rate - 1e-9):
        why = f"needs authentic images of at least {math.ceil(1 / rate - 1e-9):,} pictures, there are {pictures:,}"
        return Suggestion(rate, None, 0, len(scores), pictures, why)
    allowed = math.floor(rate * len(scores) + 1e-9)
    threshold = round((math.floor(float(scores[allowed]) / _STEP + 1e-9) + 1) * _STEP, 4)
    if threshold > 1:
        return Suggestion(rate, None, 0, len(scores), pictures, "more authentic images than that score 1")
    return Suggestion(rate, threshold, int((scores >= threshold).sum()), len(scores), pictures)
