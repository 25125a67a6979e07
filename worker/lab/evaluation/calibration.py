"""How well confidence matches accuracy, and the temperature that improves it.

Temperature scaling divides the logits by one number, fitted on validation data by the negative log-likelihood (Guo et
al. 2017, arXiv 1706.04599). It does not change the most probable class of a tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.detector.weights import WeightsInfo, load_weights, rewrite_weights
from worker.errors import ConfigurationError, ErrorCode, InputDataError
from worker.lab.dataset.checks import require_splits
from worker.lab.dataset.entries import Dataset
from worker.lab.evaluation.alterations import Variant
from worker.lab.evaluation.detection import SUGGESTED_RATES, Suggestion, suggest
from worker.lab.evaluation.items import Label, Level, Options, classified_logits, make_items, read_labels
from worker.lab.evaluation.scorer import Scorer, softmax
from worker.lab.evaluation.scoring import Scored, StartTask, no_progress, score

BINS = 15
LOWEST, HIGHEST = 0.02, 50.0
"""The range in which a temperature is searched."""
TEST = "test"


@dataclass(frozen=True)
class Bin:
    """Items whose confidence lies in one of equal ranges."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """The share of them that is classified correctly."""


@dataclass(frozen=True)
class Calibration:
    """How well the confidence of N items matches their accuracy at one temperature."""

    temperature: float
    count: int
    expected_error: float
    """Expected calibration error, 0..1: the mean over items of |accuracy − confidence| of their bin."""
    negative_log_likelihood: float
    """In nats per item."""
    bins: tuple[Bin, ...]
    """Those of 15 equal ranges of confidence that have an item."""


def calibration(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> Calibration:
    """Of logits [N, C] whose true classes are `labels` [N], N ≥ 1.

    An item's confidence is the probability of its most probable class; the bins are (k/15, (k+1)/15].
    """
    probabilities = softmax(logits, temperature).astype(np.float64)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    places = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = tuple(
        Bin(
            place / BINS,
            (place + 1) / BINS,
            int((places == place).sum()),
            float(confidence[places == place].mean()),
            float(correct[places == place].mean()),
        )
        for place in np.unique(places).tolist()
    )
    error = sum(item.count * abs(item.accuracy - item.confidence) for item in bins) / len(labels)
    return Calibration(temperature, len(labels), error, _negative_log_likelihood(logits, labels, temperature), bins)


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature of the lowest negative log-likelihood, between 0.02 and 50.

    Raises `InputDataError` (`data_invalid`) when there is none: every item is classified correctly, so that ever more
    confidence would fit better, or the logits do not depend on the classes, so that ever less would.
    """
    from scipy.optimize import minimize_scalar

    if not len(labels):
        raise InputDataError(
            ErrorCode.DATA_INVALID, "no image of a class of the weights to fit the temperature on; label some"
        )
    if (logits.argmax(axis=1) == labels).all():
        raise _no_temperature(len(labels), "not one is classified wrongly")
    low, high = math.log(LOWEST), math.log(HIGHEST)
    found = minimize_scalar(
        lambda exponent: _negative_log_likelihood(logits, labels, math.exp(exponent)),
        bounds=(low, high),
        options={"xatol": 1e-5},
    )
    if not low + 0.01 < float(found.x) < high - 0.01:
        reason = "their logits say nothing about their classes" if found.x > 0 else "hardly any is classified wrongly"
        raise _no_temperature(len(labels), reason)
    return math.exp(float(found.x))


@dataclass(frozen=True)
class BeforeAfter:
    """Calibration of one split's patches at the old and at the fitted temperature."""

    split: str
    before: Calibration
    after: Calibration
    too_small: int
    """Images with a side under 224 px, which are not scored."""
    unreadable: int
    """Images that were skipped."""


@dataclass(frozen=True)
class Fitted:
    """A temperature, its effect, and thresholds of image scores at it."""

    temperature: float
    splits: tuple[BeforeAfter, ...]
    """The split it was fitted on, and test, if there is one."""
    suggestions: tuple[Suggestion, ...]
    """From the authentic images of the split it was fitted on."""


@dataclass(frozen=True)
class ScoredSplits:
    """The originals of the split to calibrate on, and of test, if there is one."""

    splits: dict[str, Scored]
    """The split to calibrate on first."""
    labels: dict[str, Label]
    """The meaning of their labels."""


def score_splits(
    dataset: Dataset, scorer: Scorer, options: Options, start_task: StartTask = no_progress
) -> ScoredSplits:
    """Score `options.split` and test; `options.treatment.variants` are the originals.

    Raises `SetupError` (`data_invalid`) for a split without images, or a label that is not a class of the weights.
    """
    require_splits(dataset, (options.split,))
    present = {name: entries for name in dict.fromkeys((options.split, TEST)) if (entries := dataset.of(name))}
    labels = read_labels([entry for entries in present.values() for entry in entries], scorer.classes, options.declared)

    def scored(name: str) -> Scored:
        advance = start_task(f"scoring {name}", len(present[name]))
        return score(present[name], scorer, options.treatment, skip_unreadable=options.skip_unreadable, advance=advance)

    return ScoredSplits({name: scored(name) for name in present}, labels)


def fit(data: ScoredSplits, scorer: Scorer, options: Options) -> Fitted:
    """Fit the temperature of a weights file on `options.split`.

    Raises `SetupError`: `weights_invalid` for a TorchScript program, which cannot store a temperature; `data_invalid`
    for images from which no temperature follows.
    """
    if not scorer.stores_temperature:
        raise _not_a_weights_file(scorer.identity.name)
    originals = data.splits[options.split].variants[Variant.ORIGINAL]
    temperature = fit_temperature(*classified_logits(originals, data.labels))
    items = make_items(originals, data.labels, temperature=temperature, rule=options.rule, how=options.aggregate)
    return Fitted(
        temperature,
        tuple(
            found
            for name, of in data.splits.items()
            if (found := _before_after(name, of, data.labels, scorer.temperature, temperature))
        ),
        tuple(suggest(items[Level.IMAGE], rate) for rate in SUGGESTED_RATES),
    )


def calibrate(dataset: Dataset, scorer: Scorer, options: Options, start_task: StartTask = no_progress) -> Fitted:
    """Score the images and fit the temperature; raises as `score_splits` and `fit` do."""
    return fit(score_splits(dataset, scorer, options, start_task), scorer, options)


def write_calibrated(source: Path, target: Path, fitted: Fitted, data: str) -> WeightsInfo:
    """Write the weights of `source` with the fitted temperature as `target`, which may be `source` itself.

    The data and the result of the fit are added to the provenance. Raises `ConfigurationError` (`weights_invalid`).
    """
    _, info = load_weights(source)
    fit = fitted.splits[0]
    calibrated = {
        "data": data,
        "split": fit.split,
        "patches": fit.after.count,
        "expected_calibration_error": [round(fit.before.expected_error, 6), round(fit.after.expected_error, 6)],
        "uncalibrated_sha256": info.sha256,
    }
    return rewrite_weights(source, target, {"calibration": calibrated}, temperature=fitted.temperature)


def require_weights_file(path: Path) -> None:
    """Raise `ConfigurationError` (`weights_invalid`) unless `path` is a file that can store a temperature."""
    if path.suffix != ".safetensors":
        raise _not_a_weights_file(str(path))


def _before_after(
    split: str, scored: Scored, labels: dict[str, Label], before: float, after: float
) -> BeforeAfter | None:
    originals = scored.variants[Variant.ORIGINAL]
    logits, classes = classified_logits(originals, labels)
    if not len(classes):
        return None
    return BeforeAfter(
        split,
        calibration(logits, classes, before),
        calibration(logits, classes, after),
        len(originals.too_small),
        len(scored.unreadable),
    )


def _no_temperature(count: int, reason: str) -> InputDataError:
    return InputDataError(
        ErrorCode.DATA_INVALID,
        f"the {count} tiles fit no temperature between {LOWEST:g} and {HIGHEST:g}: {reason}; fit on more images that "
        "were not trained on",
    )


def _negative_log_likelihood(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> float:
    """scikit-learn's `log_loss` of the softmax, computed from logits, so that no probability is rounded to 0."""
    from scipy.special import log_softmax

    scaled = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(-scaled[np.arange(len(labels)), labels].mean())


def _not_a_weights_file(name: str) -> ConfigurationError:
    return ConfigurationError(
        ErrorCode.WEIGHTS_INVALID,
        f"{name} is a TorchScript program, which cannot store a temperature; turn SuSy as released into a weights file "
        "with `susy weights import` first",
    )
