"""An evaluation as a page to look at: one HTML file with its tables, plots and worst errors."""

from __future__ import annotations

from worker.evaluation import charts, sheets
from worker.evaluation.errors import thumbnail, worst
from worker.evaluation.html import render
from worker.evaluation.items import Level
from worker.evaluation.plots import svg_or_png
from worker.evaluation.results import Evaluation

MISTAKES = 12
"""How many false positives, and how many missed synthetic images, are shown."""


def report(evaluation: Evaluation) -> str:
    """The page."""
    plain = evaluation.plain
    of_images, rows = plain.levels[Level.IMAGE], plain.items[Level.IMAGE]
    best = of_images.at_best
    false, missed = worst(rows, evaluation.scorer.classes, MISTAKES)
    drawings = {
        "roc": charts.roc(evaluation.variants),
        "histograms": charts.histograms(rows, best.threshold if best else None) if len(rows) else None,
        "confusion": charts.confusion(of_images.answers),
        "recalls": charts.recall_bars(of_images.recalls),
        "reliability": charts.reliability(evaluation.calibration),
    }
    return render(
        "evaluation.html",
        evaluation=evaluation,
        facts=_facts(evaluation),
        main=(sheets.detection(evaluation), sheets.recognition(evaluation), sheets.best_thresholds(evaluation)),
        origins=(sheets.recalls(evaluation), sheets.false_positives(evaluation)),
        classes=sheets.by_class(evaluation),
        confusions=[
            sheets.answers(result.levels[level].answers, f"{result.variant}, per {word}")
            for result in evaluation.variants
            for level, word in sheets.LEVELS.items()
        ],
        calibration=sheets.calibration(evaluation),
        unscored=sheets.not_scored(evaluation),
        plots={name: "" if figure is None else svg_or_png(figure, name) for name, figure in drawings.items()},
        mistakes=(
            ("Authentic, called synthetic", false),
            ("Synthetic, called authentic", missed),
        ),
        thumbnail=thumbnail,
    )


def _facts(evaluation: Evaluation) -> dict[str, str]:
    scorer, options = evaluation.scorer, evaluation.options
    treatment = options.treatment
    images = evaluation.dataset.of(options.split)
    return {
        "weights": scorer.name,
        "digest": scorer.sha256,
        "classes": ", ".join(scorer.classes),
        "temperature": f"{scorer.temperature:.4g}",
        "data": f"{evaluation.name}, split {options.split}: {len(images):,} images, "
        f"{len({entry.picture for entry in images}):,} pictures",
        "labels": ", ".join(_label(evaluation, label) for label in sorted({entry.label for entry in images})),
        "tiles": "all" if treatment.patches is None else f"the {treatment.patches} of highest contrast",
        "rule": f"{options.rule}, tiles of an image by {options.aggregate}",
        "variants": "; ".join(f"{v}: {treatment.alterations.describe(v)}" for v in treatment.variants),
    }


def _label(evaluation: Evaluation, label: str) -> str:
    truth = evaluation.truth[label]
    if truth.index is None:
        return f"{label} ({'synthetic' if truth.synthetic else 'authentic'}, in detection alone)"
    name = evaluation.scorer.classes[truth.index]
    return label if name == label else f"{label} (= {name})"
