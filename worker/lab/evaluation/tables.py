"""The results of an evaluation: tables for the terminal and the report, a JSON document, and a CSV of all scores."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.bootstrap import Estimate, complement
from worker.lab.evaluation.evaluate import Evaluation, LevelFigures, VariantResult
from worker.lab.evaluation.items import Level
from worker.lab.evaluation.recognition import ConfusionMatrix

LEVELS = {Level.IMAGE: "image", Level.PATCH: "patch"}


@dataclass(frozen=True)
class Table:
    """One table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def shown(estimate: Estimate) -> str:
    """A figure with its interval, `0.987 [0.981, 0.993]`; a dash when there is no figure."""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


_DETECTION = {
    "f1": "F1",
    "f1_authentic": "F1 of authentic",
    "f1_macro": "F1 macro",
    "accuracy": "accuracy",
    "false_positive_rate": "false positives",
}


def detection(evaluation: Evaluation) -> Table:
    """Detection at 0.5, one row per variant and level: half of the card's main table."""
    rows = tuple(
        (
            name,
            level,
            f"{figures.count:,}",
            *(shown(figures.at_half.figures[key]) for key in _DETECTION),
            shown(figures.areas["roc_auc"]),
        )
        for name, level, figures in _each(evaluation)
    )
    note = (
        "F1 counts synthetic as positive; macro is its mean with the F1 of authentic. False positives: authentic "
        f"called synthetic. {_intervals(evaluation)}"
    )
    columns = ("variant", "per", "n", *_DETECTION.values(), "ROC AUC")
    return Table("Detection at threshold 0.5", columns, rows, note)


def recognition(evaluation: Evaluation) -> Table:
    """Recognition, one row per variant and level: the other half of the card's main table."""
    rows = tuple(
        (name, level, f"{found.count:,}", shown(found.f1_macro), shown(found.accuracy))
        for name, level, figures in _each(evaluation)
        if (found := figures.recognition)
    )
    note = "The most probable class against the true one; F1 macro is the mean over the classes in the data."
    return Table("Recognition", ("variant", "per", "n", "F1 macro", "accuracy"), rows, note)


def best_thresholds(evaluation: Evaluation) -> Table:
    """Detection at the threshold of highest accuracy."""
    rows = []
    for name, level, figures in _each(evaluation):
        best = figures.at_best
        if best is not None:
            shown_figures = (shown(best.figures[key]) for key in _DETECTION)
            rows.append((name, level, str(best.chosen_on), f"{best.threshold:.4f}", *shown_figures))
    split = evaluation.options.split
    note = (
        f"Chosen for the highest accuracy on the originals of the validation split ({evaluation.validation_note}), "
        "applied to the images here."
        if evaluation.validated
        else f"Chosen for the highest accuracy on the images of {split} it is applied to: optimistic. A val split "
        "would be used instead."
    )
    columns = ("variant", "per", "chosen on", "threshold", *_DETECTION.values())
    return Table("Detection at the best threshold", columns, tuple(rows), note)


def by_class(evaluation: Evaluation) -> Table:
    """Recognition of each class, on the originals."""
    rows = [
        (level, of.name, f"{of.count:,}", shown(of.f1), shown(of.recall), shown(of.precision))
        for _, level, figures in _each(evaluation, plain=True)
        for of in (figures.recognition.classes if figures.recognition else ())
    ]
    plain = evaluation.plain.levels[Level.IMAGE].recognition
    absent = f"Not in the data: {', '.join(plain.absent)}." if plain and plain.absent else ""
    title = f"Recognition by class ({evaluation.plain.variant})"
    return Table(title, ("per", "class", "n", "F1", "recall", "precision"), tuple(rows), absent)


def recalls(evaluation: Evaluation) -> Table:
    """Recall of each data set, as in the card."""
    rows = [
        (
            level,
            row.dataset,
            row.label,
            "synthetic" if row.synthetic else "authentic",
            f"{row.count:,}",
            f"{row.pictures:,}",
            shown(row.at_half),
            "–" if row.at_best is None else shown(row.at_best),
        )
        for _, level, figures in _each(evaluation, plain=True)
        for row in figures.recalls
    ]
    columns = ("per", "data set", "label", "kind", "n", "pictures", "recall at 0.5", "recall at best threshold")
    title = f"Recall by data set ({evaluation.plain.variant})"
    note = "The share classified correctly: synthetic at or above the threshold, authentic below."
    return Table(title, columns, tuple(rows), note)


def false_positives(evaluation: Evaluation) -> Table:
    """How many images of authentic-only data sets are called synthetic, in each variant."""
    rows = [
        (
            name,
            level,
            row.dataset,
            f"{row.count:,}",
            f"{row.pictures:,}",
            shown(row.false_positive_rate),
            "–" if row.at_best is None else shown(complement(row.at_best)),
        )
        for name, level, figures in _each(evaluation)
        for row in figures.recalls
        if row.authentic_only
    ]
    columns = ("variant", "per", "data set", "n", "pictures", "called synthetic at 0.5", "at best threshold")
    return Table("False positives on data sets of authentic images only", columns, tuple(rows))


def confusion(table: ConfusionMatrix, title: str) -> Table:
    """A confusion matrix."""
    rows = tuple((name, *map(str, counts)) for name, counts in zip(table.rows, table.counts, strict=True))
    return Table(title, ("true class ↓ most probable →", *table.columns), rows)


def calibration(evaluation: Evaluation) -> Table:
    """Expected calibration error at each temperature."""
    rows = tuple(
        (row.what, f"{row.result.temperature:.3f}", f"{row.result.count:,}", f"{row.result.expected_error:.4f}",
         f"{row.result.negative_log_likelihood:.4f}")
        for row in evaluation.calibration
    )  # fmt: skip
    columns = ("temperature", "value", "patches", "expected calibration error", "negative log-likelihood")
    return Table(f"Calibration of patches on {evaluation.options.split}", columns, rows, evaluation.calibration_note)


def not_scored(evaluation: Evaluation) -> Table:
    """The number of images without a score."""
    rows = [
        (str(result.variant), f"{result.scored:,}", f"{len(result.too_small):,}", f"{len(evaluation.unreadable):,}")
        for result in evaluation.variants
    ]
    columns = ("variant", "scored", "under 224 px", "unreadable")
    note = "An image without a score is in no figure."
    return Table("Images scored and not scored", columns, tuple(rows), note)


def _each(evaluation: Evaluation, *, plain: bool = False) -> list[tuple[str, str, LevelFigures]]:
    results = (evaluation.plain,) if plain else evaluation.variants
    return [(str(of.variant), word, of.levels[level]) for of in results for level, word in LEVELS.items()]


def _intervals(evaluation: Evaluation) -> str:
    resamples = evaluation.options.bootstrap.resamples
    if not resamples:
        return "Without intervals."
    return f"In brackets, 95 % intervals of {resamples:,} bootstrap resamples of the pictures."


def document(evaluation: Evaluation) -> dict[str, Any]:
    """All figures, ready for JSON."""
    options, model = evaluation.options, evaluation.scorer.identity
    return {
        "weights": {
            "name": model.name,
            "sha256": model.sha256,
            "classes": list(model.classes),
            "temperature": evaluation.scorer.temperature,
        },
        "data": {
            "name": evaluation.name,
            "split": options.split,
            "images": len(evaluation.dataset.of(options.split)),
            "labels": {name: asdict(label) for name, label in evaluation.labels.items()},
        },
        "options": {
            "rule": str(options.rule),
            "aggregate": str(options.aggregate),
            "patches": options.treatment.patches or "all",
            "tiling": str(options.treatment.tiling),
            "bootstrap": asdict(options.bootstrap),
        },
        "variants": {str(result.variant): _variant(evaluation, result) for result in evaluation.variants},
        "unreadable": [{"name": item.entry.name, "why": item.why} for item in evaluation.unreadable],
        "validation": evaluation.validation_note,
        "calibration": [{"what": row.what, **asdict(row.result)} for row in evaluation.calibration],
        "calibration_note": evaluation.calibration_note,
    }


def images_csv(evaluation: Evaluation) -> str:
    """One line per image and variant: its label, whether it was scored, and its aggregated probabilities."""
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    classes = evaluation.scorer.classes
    lines.writerow(
        ["variant", "name", "label", "dataset", "picture", "outcome", "score", "answer", *(f"p({c})" for c in classes)]
    )
    for result in evaluation.variants:
        lines.writerows(_scored(result, classes))
        lines.writerows(_without(result, entry, "too_small") for entry in result.too_small)
        lines.writerows(_without(result, item.entry, "unreadable") for item in evaluation.unreadable)
    return text.getvalue()


def _variant(evaluation: Evaluation, result: VariantResult) -> dict[str, Any]:
    return {
        "parameters": evaluation.options.treatment.parameters.describe(result.variant),
        "scored": result.scored,
        "too_small": [entry.name for entry in result.too_small],
        **{str(level): asdict(figures) for level, figures in result.levels.items()},
    }


def _scored(result: VariantResult, classes: tuple[str, ...]) -> Iterator[list[Any]]:
    items = result.items[Level.IMAGE]
    for entry, score, answer, probabilities in zip(
        items.entries, items.scores.tolist(), items.predicted.tolist(), items.probabilities.tolist(), strict=True
    ):
        yield [
            *_identity(result, entry),
            "scored",
            f"{score:.6f}",
            classes[answer],
            *(f"{probability:.6f}" for probability in probabilities),
        ]


def _without(result: VariantResult, entry: Entry, outcome: str) -> list[Any]:
    return [*_identity(result, entry), outcome]


def _identity(result: VariantResult, entry: Entry) -> list[str]:
    return [str(result.variant), entry.name, entry.label, entry.dataset, entry.picture]
