"""Which generator: figures of the most probable class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worker.lab.evaluation.bootstrap import (
    Bootstrap,
    Estimate,
    accuracies,
    estimate,
    estimate_share,
    f1s,
    macro_f1s,
    precisions,
    recalls,
)
from worker.lab.evaluation.items import Items


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is recognized."""

    name: str
    count: int
    f1: Estimate
    recall: Estimate
    precision: Estimate


@dataclass(frozen=True)
class Recognition:
    """How often the most probable class is the true one, among items whose class is one of the weights'."""

    count: int
    f1_macro: Estimate
    """The mean over the classes in the data."""
    accuracy: Estimate
    classes: tuple[ClassFigures, ...]
    absent: tuple[str, ...]
    """Classes of the weights that are not in the data."""


def recognition(items: Items, classes: tuple[str, ...], bootstrap: Bootstrap) -> Recognition | None:
    """None when no item's class is one of the weights'."""
    from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

    known = items.index >= 0
    labels, predicted = items.index[known], items.predicted[known]
    if not len(labels):
        return None
    _, pictures = np.unique(items.pictures[known], return_inverse=True)
    matrices = bootstrap.tables(pictures, labels, predicted, (len(classes), len(classes)))
    present = np.unique(labels).tolist()
    of_classes = zip(
        present,
        *precision_recall_fscore_support(labels, predicted, labels=present, zero_division=0.0),
        strict=True,
    )
    macro = f1_score(labels, predicted, labels=present, average="macro", zero_division=0.0)
    return Recognition(
        count=len(labels),
        f1_macro=estimate(float(macro), macro_f1s(matrices)),
        accuracy=estimate(float(accuracy_score(labels, predicted)), accuracies(matrices)),
        classes=tuple(
            ClassFigures(
                classes[index],
                int(count),
                estimate(float(f1), f1s(matrices)[:, index]),
                estimate_share(float(recall), recalls(matrices)[:, index], len(np.unique(pictures[labels == index]))),
                estimate_share(
                    float(precision), precisions(matrices)[:, index], len(np.unique(pictures[predicted == index]))
                )
                if (predicted == index).any()
                else Estimate(None),
            )
            for index, precision, recall, f1, count in of_classes
        ),
        absent=tuple(name for index, name in enumerate(classes) if index not in present),
    )


@dataclass(frozen=True)
class ConfusionMatrix:
    """How often each class was the most probable one for the items of each true class or label."""

    rows: tuple[str, ...]
    """True classes in the data, then the labels that are not classes of the weights."""
    columns: tuple[str, ...]
    """The weights' classes."""
    counts: tuple[tuple[int, ...], ...]


def confusion(items: Items, classes: tuple[str, ...]) -> ConfusionMatrix:
    """The confusion matrix of all items, including those whose label counts in detection only."""
    from sklearn.metrics import confusion_matrix

    labels = [
        entry.label if index < 0 else classes[index]
        for entry, index in zip(items.entries, items.index.tolist(), strict=True)
    ]
    if not labels:
        return ConfusionMatrix((), classes, ())
    names = [*classes, *sorted(set(labels) - set(classes))]
    counts = confusion_matrix(labels, [classes[index] for index in items.predicted.tolist()], labels=names)
    rows = {name: row[: len(classes)] for name, row in zip(names, counts.tolist(), strict=True) if name in set(labels)}
    return ConfusionMatrix(tuple(rows), classes, tuple(tuple(row) for row in rows.values()))
