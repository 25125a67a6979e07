"""An evaluation as one HTML file: its tables, plots and worst errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.errors import SetupError
from worker.lab.dataset.entries import Entry
from worker.lab.evaluation import charts, tables
from worker.lab.evaluation.detection import HALF
from worker.lab.evaluation.evaluate import Evaluation
from worker.lab.evaluation.html import image_tag, render
from worker.lab.evaluation.items import Items, Level
from worker.lab.imaging import thumbnail_uri

MISTAKES = 12
"""How many false positives, and how many missed synthetic images, are shown."""
_THUMBNAIL_SIDE = 360  # pixels


def report(evaluation: Evaluation) -> str:
    """The page."""
    plain = evaluation.plain
    of_images, items = plain.levels[Level.IMAGE], plain.items[Level.IMAGE]
    best = of_images.at_best
    false, missed = worst_mistakes(items, evaluation.scorer.classes, MISTAKES)
    plots = {
        "roc": charts.roc(evaluation.variants),
        "histograms": charts.histograms(items, best.threshold if best else None) if len(items) else None,
        "confusion": charts.confusion(of_images.answers),
        "recalls": charts.recall_bars(of_images.recalls),
        "reliability": charts.reliability(evaluation.calibration),
    }
    return render(
        "evaluation.html",
        evaluation=evaluation,
        facts=_facts(evaluation),
        main=(tables.detection(evaluation), tables.recognition(evaluation), tables.best_thresholds(evaluation)),
        origins=(tables.recalls(evaluation), tables.false_positives(evaluation)),
        classes=tables.by_class(evaluation),
        confusions=[
            tables.confusion(result.levels[level].answers, f"{result.variant}, per {word}")
            for result in evaluation.variants
            for level, word in tables.LEVELS.items()
        ],
        calibration=tables.calibration(evaluation),
        unscored=tables.not_scored(evaluation),
        plots={name: "" if figure is None else image_tag(figure, name) for name, figure in plots.items()},
        mistakes=(
            ("Authentic, called synthetic", false),
            ("Synthetic, called authentic", missed),
        ),
        thumbnail=lambda entry: _thumbnail(entry, evaluation.options.treatment.max_pixels),
    )


@dataclass(frozen=True)
class Mistake:
    """One image on the wrong side of 0.5."""

    entry: Entry
    synthetic: bool
    """Whether its label is synthetic."""
    score: float
    answer: str
    """The most probable class."""
    probability: float
    """Of that class."""


def worst_mistakes(
    items: Items, classes: tuple[str, ...], count: int
) -> tuple[tuple[Mistake, ...], tuple[Mistake, ...]]:
    """The authentic images with the highest scores, and the synthetic ones with the lowest; at most `count` of each."""
    predicted = items.scores >= HALF
    return (
        _mistakes(items, classes, np.flatnonzero(predicted & ~items.synthetic), -items.scores, count),
        _mistakes(items, classes, np.flatnonzero(~predicted & items.synthetic), items.scores, count),
    )


def _mistakes(
    items: Items, classes: tuple[str, ...], which: NDArray[np.intp], order: NDArray[np.float64], count: int
) -> tuple[Mistake, ...]:
    chosen = which[np.argsort(order[which], kind="stable")][:count]
    return tuple(
        Mistake(
            items.entries[index],
            bool(items.synthetic[index]),
            float(items.scores[index]),
            classes[items.predicted[index]],
            float(items.probabilities[index].max()),
        )
        for index in chosen.tolist()
    )


def _thumbnail(entry: Entry, max_pixels: int) -> str | None:
    """A small JPEG of the image as a `data:` URI; None if it can no longer be read."""
    try:
        return thumbnail_uri(entry.pixels(max_pixels), _THUMBNAIL_SIDE)
    except SetupError:
        return None


def _facts(evaluation: Evaluation) -> dict[str, str]:
    model, options = evaluation.scorer.identity, evaluation.options
    treatment = options.treatment
    images = evaluation.dataset.of(options.split)
    return {
        "weights": model.name,
        "digest": model.sha256,
        "classes": ", ".join(model.classes),
        "temperature": f"{evaluation.scorer.temperature:.4g}",
        "data": f"{evaluation.name}, split {options.split}: {len(images):,} images, "
        f"{len({entry.picture for entry in images}):,} pictures",
        "labels": ", ".join(_label(evaluation, label) for label in sorted({entry.label for entry in images})),
        "tiles": "all" if treatment.patches is None else f"the {treatment.patches} of highest contrast",
        "rule": f"{options.rule}, tiles of an image by {options.aggregate}",
        "variants": "; ".join(f"{v}: {treatment.parameters.describe(v)}" for v in treatment.variants),
    }


def _label(evaluation: Evaluation, name: str) -> str:
    label = evaluation.labels[name]
    if label.index is None:
        return f"{name} ({'synthetic' if label.synthetic else 'authentic'}, in detection only)"
    class_name = evaluation.scorer.classes[label.index]
    return name if class_name == name else f"{name} (= {class_name})"
