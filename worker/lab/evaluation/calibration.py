"""Whether confidence is to be believed: expected calibration error, and the temperature that lowers it.

Temperature scaling divides the logits by one number, fitted on validation data by the negative log-likelihood (Guo et
al. 2017, arXiv 1706.04599). The most probable class of a tile stays the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.errors import ErrorCode, InputDataError, SetupError
from worker.lab.evaluation.scorer import softmax

BINS = 15
LOWEST, HIGHEST = 0.02, 50.0
"""Between which a temperature is looked for."""


@dataclass(frozen=True)
class Bin:
    """Items whose confidence lies in one of equal ranges."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """The share of them that is right."""


@dataclass(frozen=True)
class Calibration:
    """How calibrated the confidence of N items is at one temperature."""

    temperature: float
    count: int
    expected_error: float
    """Expected calibration error, 0..1: the mean over items of |accuracy − confidence| of their bin."""
    negative_log_likelihood: float
    """In nats an item."""
    bins: tuple[Bin, ...]
    """Those of 15 equal ranges of confidence that hold an item."""


def calibration(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> Calibration:
    """Of logits [N, C] whose true classes are `labels` [N], N ≥ 1.

    An item's confidence is the probability of its most probable class; the bins are (k/15, (k+1)/15].
    """
    probabilities = softmax(logits, temperature).astype(np.float64)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = tuple(
        Bin(
            place / BINS,
            (place + 1) / BINS,
            int((places == place).sum()),
            float(confidence[places == place].mean()),
            float(right[places == place].mean()),
        )
        for place in np.unique(places).tolist()
    )
    error = sum(item.count * abs(item.accuracy - item.confidence) for item in bins) / len(labels)
    return Calibration(temperature, len(labels), error, _loss(logits, labels, temperature), bins)


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature of the lowest negative log-likelihood, between 0.02 and 50.

    Raises `InputDataError` (`data_invalid`) when there is none: every item is classified rightly, so that ever more
    confidence would fit better, or the logits say nothing of the classes, so that ever less would.
    """
    from scipy.optimize import minimize_scalar

    if not len(labels):
        raise InputDataError(
            ErrorCode.DATA_INVALID, "no image of a class of the weights to fit the temperature on; label some"
        )
    if (logits.argmax(axis=1) == labels).all():
        raise _unfit(len(labels), "not one is classified wrongly")
    low, high = math.log(LOWEST), math.log(HIGHEST)
    found = minimize_scalar(
        lambda exponent: _loss(logits, labels, math.exp(exponent)), bounds=(low, high), options={"xatol": 1e-5}
    )
    if not low + 0.01 < float(found.x) < high - 0.01:
        raise _unfit(len(labels), "their logits say nothing of their classes" if found.x > 0 else "hardly any is wrong")
    return math.exp(float(found.x))


def _unfit(count: int, why: str) -> SetupError:
    return InputDataError(
        ErrorCode.DATA_INVALID,
        f"the {count} tiles fit no temperature between {LOWEST:g} and {HIGHEST:g}: {why}; fit on more images that were "
        "not trained on",
    )


def _loss(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> float:
    """scikit-learn's `log_loss` of the softmax, from logits, so that no probability is rounded to 0."""
    from scipy.special import log_softmax

    scaled = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(-scaled[np.arange(len(labels)), labels].mean())
