"""An evaluation as a page to look at: one HTML file with its tables, plots and worst errors."""

from __future__ import annotations

from worker.lab.evaluation import charts, tables
from worker.lab.evaluation.errors import thumbnail, worst
from worker.lab.evaluation.html import render
from worker.lab.evaluation.items import Level
from worker.lab.evaluation.plots import svg_or_png
from worker.lab.evaluation.results import Evaluation

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
        main=(tables.detection(evaluation), tables.recognition(evaluation), tables.best_thresholds(evaluation)),
        origins=(tables.recalls(evaluation), tables.false_positives(evaluation)),
        classes=tables.by_class(evaluation),
        confusions=[
            tables.answers(result.levels[level].answers, f"{result.variant}, per {word}")
            for result in evaluation.variants
            for level, word in tables.LEVELS.items()
        ],
        calibration=tables.calibration(evaluation),
        unscored=tables.not_scored(evaluation),
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
    labels = evaluation.labels[label]
    if labels.index is None:
        return f"{label} ({'synthetic' if labels.synthetic else 'authentic'}, in detection alone)"
    name = evaluation.scorer.classes[labels.index]
    return label if name == label else f"{label} (= {name})"
