"""Authentic or synthetic: the figures of a detector at a threshold, and over all thresholds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.lab.evaluation.bootstrap import Bootstrap, Estimate, estimate, share
from worker.lab.evaluation.confusion import Matrices, accuracies, f1s, precisions, recalls
from worker.lab.evaluation.items import Items


@dataclass(frozen=True)
class Figure:
    """One figure in two forms that agree."""

    of_answers: Callable[[NDArray[Any], NDArray[Any]], float]
    """scikit-learn's, of true classes [N] and answers [N]."""
    of_matrices: Callable[[Matrices], NDArray[np.float64]]
    """Of confusion matrices [B, 2, 2] → [B]; NaN where it does not exist."""
    among: Callable[[NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.bool_]] | None = None
    """Of a figure that is a share: among which items, of true classes [N] and answers [N]."""


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
            lambda _, called: called,
        ),
        "recall": Figure(metrics.recall_score, lambda matrices: recalls(matrices)[..., 1], lambda labels, _: labels),
        "false_positive_rate": Figure(
            lambda labels, called: 1 - metrics.recall_score(labels, called, pos_label=False),
            lambda matrices: 1 - recalls(matrices)[..., 0],
            lambda labels, _: ~labels,
        ),
    }


_NEED_BOTH = {"f1_macro", "balanced_accuracy"}
_NEED_SYNTHETIC = {"f1", "precision", "recall"}
_NEED_AUTHENTIC = {"f1_authentic", "false_positive_rate"}


def detection(items: Items, threshold: float, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """The figures of calling synthetic what scores `threshold` or more; a figure that needs items of a kind that is
    not there has no value."""
    called = items.scores >= threshold
    matrices = bootstrap.tables(items.pictures, items.synthetic.astype(np.int64), called.astype(np.int64), (2, 2))
    synthetic, authentic = bool(items.synthetic.any()), not items.synthetic.all()
    impossible = (
        (set() if synthetic and authentic else _NEED_BOTH)
        | (set() if synthetic else _NEED_SYNTHETIC)
        | (set() if authentic else _NEED_AUTHENTIC)
    )
    return {
        name: Estimate(None) if name in impossible or not len(items) else _estimate(figure, items, called, matrices)
        for name, figure in detection_figures().items()
    }


def _estimate(figure: Figure, items: Items, called: NDArray[np.bool_], matrices: Matrices) -> Estimate:
    value, resampled = float(figure.of_answers(items.synthetic, called)), figure.of_matrices(matrices)
    among = figure.among(items.synthetic, called) if figure.among else np.zeros_like(called)
    if not among.any():
        return estimate(value, resampled)
    return share(value, resampled, len(np.unique(items.pictures[among])))


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
