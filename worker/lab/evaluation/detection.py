"""Authentic or synthetic: figures at a threshold, over all thresholds and by data set; the choice of thresholds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.lab.evaluation.bootstrap import (
    Bootstrap,
    Estimate,
    Matrices,
    accuracies,
    complement,
    estimate,
    estimate_share,
    f1s,
    precisions,
    recalls,
)
from worker.lab.evaluation.items import Items

HALF = 0.5
"""The threshold at which each of the card's two rules is exactly the card's detector."""
SUGGESTED_RATES = (0.01, 0.001)
"""False positive rates for which thresholds are suggested."""

_STEP = 1e-4  # of suggested thresholds, which people read and copy


@dataclass(frozen=True)
class Figure:
    """One figure in two forms that agree."""

    of_predictions: Callable[[NDArray[Any], NDArray[Any]], float]
    """scikit-learn's, of true and predicted classes [N]."""
    of_matrices: Callable[[Matrices], NDArray[np.float64]]
    """Of confusion matrices [B, 2, 2] → [B]; NaN where it does not exist."""
    among: Callable[[NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.bool_]] | None = None
    """For a figure that is a share: among which items, given true and predicted classes [N]."""


def detection_figures() -> dict[str, Figure]:
    """Figures of two classes, False (authentic) and True (synthetic)."""
    from sklearn import metrics

    f1 = partial(metrics.f1_score, zero_division=0.0)
    return {
        "f1": Figure(f1, lambda matrices: f1s(matrices)[..., 1]),
        "f1_macro": Figure(partial(f1, average="macro", labels=[False, True]), lambda matrices: f1s(matrices).mean(-1)),
        "f1_authentic": Figure(partial(f1, pos_label=False), lambda matrices: f1s(matrices)[..., 0]),
        "accuracy": Figure(metrics.accuracy_score, accuracies, lambda labels, _: np.ones_like(labels)),
        "balanced_accuracy": Figure(
            partial(metrics.recall_score, average="macro", labels=[False, True], zero_division=0.0),
            lambda matrices: recalls(matrices).mean(axis=-1),
        ),
        "precision": Figure(
            partial(metrics.precision_score, zero_division=0.0),
            lambda matrices: precisions(matrices)[..., 1],
            lambda _, predicted: predicted,
        ),
        "recall": Figure(metrics.recall_score, lambda matrices: recalls(matrices)[..., 1], lambda labels, _: labels),
        "false_positive_rate": Figure(
            lambda labels, predicted: 1 - metrics.recall_score(labels, predicted, pos_label=False),
            lambda matrices: 1 - recalls(matrices)[..., 0],
            lambda labels, _: ~labels,
        ),
    }


_NEED_BOTH = {"f1_macro", "balanced_accuracy"}
_NEED_SYNTHETIC = {"f1", "precision", "recall"}
_NEED_AUTHENTIC = {"f1_authentic", "false_positive_rate"}


def detection(items: Items, threshold: float, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """The figures of predicting synthetic at scores of `threshold` or more; a figure that needs authentic or synthetic
    items has no value without any."""
    predicted = items.scores >= threshold
    matrices = bootstrap.tables(items.pictures, items.synthetic.astype(np.int64), predicted.astype(np.int64), (2, 2))
    synthetic, authentic = bool(items.synthetic.any()), not items.synthetic.all()
    undefined = (
        (set() if synthetic and authentic else _NEED_BOTH)
        | (set() if synthetic else _NEED_SYNTHETIC)
        | (set() if authentic else _NEED_AUTHENTIC)
    )
    return {
        name: Estimate(None) if name in undefined or not len(items) else _estimate(figure, items, predicted, matrices)
        for name, figure in detection_figures().items()
    }


def _estimate(figure: Figure, items: Items, predicted: NDArray[np.bool_], matrices: Matrices) -> Estimate:
    value, resampled = float(figure.of_predictions(items.synthetic, predicted)), figure.of_matrices(matrices)
    among = figure.among(items.synthetic, predicted) if figure.among else np.zeros_like(predicted)
    if not among.any():
        return estimate(value, resampled)
    return estimate_share(value, resampled, len(np.unique(items.pictures[among])))


def areas(items: Items, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """The area under the ROC curve, with its interval, and the average precision."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not items.synthetic.any() or items.synthetic.all():
        return {"roc_auc": Estimate(None), "average_precision": Estimate(None)}
    area = float(roc_auc_score(items.synthetic, items.scores))
    return {
        "roc_auc": estimate(area, _resampled_areas(items, bootstrap)),
        "average_precision": Estimate(float(average_precision_score(items.synthetic, items.scores))),
    }


def _resampled_areas(items: Items, bootstrap: Bootstrap) -> NDArray[np.float64]:
    """The area under the ROC curve of each resample [B]: the share of pairs of a synthetic and an authentic item in
    which the synthetic one scores higher, ties counted half (Mann and Whitney 1947)."""
    count = int(items.pictures.max()) + 1
    if count < 2 or not bootstrap.resamples:
        return np.empty(0)
    levels, level = np.unique(items.scores, return_inverse=True)
    found: list[float] = []
    for draw in bootstrap.draws(count):
        for times in draw[:, items.pictures]:
            above = np.bincount(level, times * items.synthetic, len(levels))
            below = np.bincount(level, times * ~items.synthetic, len(levels))
            pairs = above.sum() * below.sum()
            won = (above * (below.cumsum() - below / 2)).sum()
            found.append(float(won / pairs) if pairs else np.nan)
    return np.array(found)


@dataclass(frozen=True)
class Recall:
    """The images of one label from one data set, as the model card tables them: authentic ones that are called
    authentic, synthetic ones that are called synthetic."""

    dataset: str
    label: str
    synthetic: bool
    authentic_only: bool
    """Whether the data set has authentic images only."""
    count: int
    pictures: int
    at_half: Estimate
    """The share predicted correctly at threshold 0.5."""
    at_best: Estimate | None

    @property
    def false_positive_rate(self) -> Estimate:
        """The share predicted synthetic at 0.5, of authentic images."""
        return complement(self.at_half)


def recalls_by_dataset(items: Items, half: float, best: float | None, bootstrap: Bootstrap) -> tuple[Recall, ...]:
    """One row per data set and label, authentic ones first; `half` and `best` are thresholds."""
    origins = [
        (bool(kind), entry.dataset, entry.label) for kind, entry in zip(items.synthetic, items.entries, strict=True)
    ]
    names = sorted(set(origins))
    places = {name: place for place, name in enumerate(names)}
    rows = np.array([places[origin] for origin in origins], np.int64)
    mixed = {dataset for kind, dataset, _ in names if kind}
    at_half = _recalls(items, rows, len(names), half, bootstrap)
    at_best = None if best is None else _recalls(items, rows, len(names), best, bootstrap)
    return tuple(
        Recall(
            dataset=dataset,
            label=label,
            synthetic=kind,
            authentic_only=not kind and dataset not in mixed,
            count=int((rows == place).sum()),
            pictures=len(np.unique(items.pictures[rows == place])),
            at_half=at_half[place],
            at_best=None if at_best is None else at_best[place],
        )
        for place, (kind, dataset, label) in enumerate(names)
    )


def _recalls(
    items: Items, rows: NDArray[np.int64], count: int, threshold: float, bootstrap: Bootstrap
) -> list[Estimate]:
    correct = (items.scores >= threshold) == items.synthetic
    tables = bootstrap.tables(items.pictures, rows, correct.astype(np.int64), (count, 2))
    return [
        estimate_share(
            float(correct[rows == row].mean()), _shares(tables[:, row]), len(np.unique(items.pictures[rows == row]))
        )
        for row in range(count)
    ]


def _shares(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B, 2] counts of wrong and correct → [B]; NaN for a resample without items."""
    counts = tables.sum(axis=1)
    return np.where(counts > 0, tables[:, 1] / np.maximum(counts, 1), np.nan)


def best_threshold(items: Items) -> float | None:
    """The threshold of highest accuracy, midway between the scores it separates; None without both kinds of items.

    Of equally good thresholds, the nearest to 0.5. The card reports accuracy at such a threshold.
    """
    from sklearn.metrics import roc_curve

    synthetic = int(items.synthetic.sum())
    authentic = len(items) - synthetic
    if not synthetic or not authentic:
        return None
    # Sensitivity and false positive rate of predicting synthetic at each level or above, from the highest level down.
    false, true, _ = roc_curve(items.synthetic, items.scores, drop_intermediate=False)
    correct = true * synthetic + (1 - false) * authentic
    levels = np.concatenate([[1 + _STEP], np.unique(items.scores)[::-1], [0.0]])
    between = (levels[:-1] + levels[1:]) / 2
    best = between[np.isclose(correct, correct.max(), rtol=0, atol=1e-6)]
    return float(best[np.abs(best - HALF).argmin()])


@dataclass(frozen=True)
class Suggestion:
    """A threshold that bounds the false positive rate on some authentic images."""

    rate: float
    """The largest share of authentic images that may be called synthetic."""
    threshold: float | None
    """None when the images do not support a claim; `why` says so."""
    false_positives: int
    images: int
    """Number of authentic images it is based on."""
    pictures: int
    """Number of different pictures these show."""
    why: str = ""


def suggest(items: Items, rate: float) -> Suggestion:
    """The lowest threshold, in steps of 0.0001, at which at most `rate` of the authentic items are called synthetic.

    A rate below one in the number of authentic pictures is not claimed: the data cannot show anything that rare.
    """
    authentic = ~items.synthetic
    scores: NDArray[np.float64] = np.sort(items.scores[authentic])[::-1]
    pictures = len(np.unique(items.pictures[authentic]))
    needed = math.ceil(1 / rate - 1e-9)
    if pictures < needed:
        why = f"needs authentic images of at least {needed:,} pictures, there are {pictures:,}"
        return Suggestion(rate, None, 0, len(scores), pictures, why)
    allowed = math.floor(rate * len(scores) + 1e-9)
    threshold = round((math.floor(float(scores[allowed]) / _STEP + 1e-9) + 1) * _STEP, 4)
    if threshold > 1:
        return Suggestion(rate, None, 0, len(scores), pictures, "more authentic images than that score 1")
    return Suggestion(rate, threshold, int((scores >= threshold).sum()), len(scores), pictures)
