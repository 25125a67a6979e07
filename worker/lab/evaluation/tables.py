"""The tables of an evaluation as text, the same in the terminal and in the report."""

from __future__ import annotations

from dataclasses import dataclass

from worker.lab.evaluation.bootstrap import Estimate
from worker.lab.evaluation.items import Level
from worker.lab.evaluation.recalls import complement
from worker.lab.evaluation.recognition import AnswerTable
from worker.lab.evaluation.results import Evaluation, LevelFigures

LEVELS = {Level.IMAGE: "image", Level.PATCH: "patch"}


@dataclass(frozen=True)
class Sheet:
    """One table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def shown(estimate: Estimate) -> str:
    """A figure with its interval, `0.987 [0.981, 0.993]`; a dash where there is none."""
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


def detection(evaluation: Evaluation) -> Sheet:
    """Detection at 0.5, a row a variant and level: half of the card's main table."""
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
    return Sheet("Detection at threshold 0.5", columns, rows, note)


def recognition(evaluation: Evaluation) -> Sheet:
    """Recognition, a row a variant and level: the other half of the card's main table."""
    rows = tuple(
        (name, level, f"{found.count:,}", shown(found.f1_macro), shown(found.accuracy))
        for name, level, figures in _each(evaluation)
        if (found := figures.recognition)
    )
    note = "The most probable class against the true one; F1 macro is the mean over the classes in the data."
    return Sheet("Recognition", ("variant", "per", "n", "F1 macro", "accuracy"), rows, note)


def best_thresholds(evaluation: Evaluation) -> Sheet:
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
        else f"Chosen for the highest accuracy on the very images of {split} it is applied to: optimistic. A val split "
        "beside it would be used instead."
    )
    columns = ("variant", "per", "chosen on", "threshold", *_DETECTION.values())
    return Sheet("Detection at the best threshold", columns, tuple(rows), note)


def by_class(evaluation: Evaluation) -> Sheet:
    """Recognition of each class, on the originals."""
    rows = [
        (level, of.name, f"{of.count:,}", shown(of.f1), shown(of.recall), shown(of.precision))
        for _, level, figures in _each(evaluation, plain=True)
        for of in (figures.recognition.classes if figures.recognition else ())
    ]
    plain = evaluation.plain.levels[Level.IMAGE].recognition
    absent = f"Not in the data: {', '.join(plain.absent)}." if plain and plain.absent else ""
    title = f"Recognition by class ({evaluation.plain.variant})"
    return Sheet(title, ("per", "class", "n", "F1", "recall", "precision"), tuple(rows), absent)


def recalls(evaluation: Evaluation) -> Sheet:
    """Recall of every data set, as the card lists it."""
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
    note = "The share called what it is: synthetic at or above the threshold, authentic below."
    return Sheet(title, columns, tuple(rows), note)


def false_positives(evaluation: Evaluation) -> Sheet:
    """How many images of authentic-only data sets are called synthetic, in every variant."""
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
    return Sheet("False positives on data sets of authentic images alone", columns, tuple(rows))


def answers(table: AnswerTable, title: str) -> Sheet:
    """A confusion matrix."""
    rows = tuple((name, *map(str, counts)) for name, counts in zip(table.rows, table.counts, strict=True))
    return Sheet(title, ("true class ↓ most probable →", *table.columns), rows)


def calibration(evaluation: Evaluation) -> Sheet:
    """Expected calibration error before and after the temperature."""
    rows = tuple(
        (row.what, f"{row.result.temperature:.3f}", f"{row.result.count:,}", f"{row.result.expected_error:.4f}",
         f"{row.result.negative_log_likelihood:.4f}")
        for row in evaluation.calibration
    )  # fmt: skip
    columns = ("temperature", "value", "patches", "expected calibration error", "negative log-likelihood")
    return Sheet(f"Calibration of patches on {evaluation.options.split}", columns, rows, evaluation.calibration_note)


def not_scored(evaluation: Evaluation) -> Sheet:
    """Images without a score, counted."""
    rows = [
        (str(result.variant), f"{result.scored:,}", f"{len(result.too_small):,}", f"{len(evaluation.unreadable):,}")
        for result in evaluation.variants
    ]
    columns = ("variant", "scored", "under 224 px", "unreadable")
    note = "An image without a score counts nowhere, neither as right nor as wrong."
    return Sheet("Images scored and not scored", columns, tuple(rows), note)


def _each(evaluation: Evaluation, *, plain: bool = False) -> list[tuple[str, str, LevelFigures]]:
    results = (evaluation.plain,) if plain else evaluation.variants
    return [(str(of.variant), word, of.levels[level]) for of in results for level, word in LEVELS.items()]


def _intervals(evaluation: Evaluation) -> str:
    resamples = evaluation.options.bootstrap.resamples
    if not resamples:
        return "Without intervals."
    return f"In brackets, 95 % intervals of {resamples:,} bootstrap resamples of the pictures."
