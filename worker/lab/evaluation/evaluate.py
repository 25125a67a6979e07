"""An evaluation: weights, labelled images, and all figures of the card's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from schema.scan import TILE
from worker.errors import SetupError
from worker.lab.dataset.checks import require_splits
from worker.lab.dataset.entries import Dataset, Entry
from worker.lab.evaluation.bootstrap import Bootstrap
from worker.lab.evaluation.calibration import calibration, fit_temperature
from worker.lab.evaluation.detection import areas, detection
from worker.lab.evaluation.items import Items, Level, items
from worker.lab.evaluation.labels import Label, read_labels
from worker.lab.evaluation.recalls import recalls_by_dataset
from worker.lab.evaluation.recognition import answer_table, recognition
from worker.lab.evaluation.results import AtThreshold, CalibrationRow, Evaluation, LevelFigures, Options, VariantResult
from worker.lab.evaluation.scorer import Scorer
from worker.lab.evaluation.scoring import Scored, Scores, Treatment, score
from worker.lab.evaluation.thresholds import HALF, best_threshold
from worker.lab.evaluation.variants import Variant

VALIDATION = "val"
Watch = Callable[[str, int], Callable[[], object]]
"""Called with what begins and its number of images; what it returns is called once an image."""


def unwatched(_what: str, _count: int) -> Callable[[], object]:
    """Shows no progress."""
    return lambda: None


def watching(bar: Progress) -> Watch:
    """Shows on `bar` how far scoring is."""

    def watch(what: str, count: int) -> Callable[[], object]:
        task = bar.add_task(what, total=count)
        return lambda: bar.advance(task)

    return watch


def evaluate(
    dataset: Dataset,
    scorer: Scorer,
    options: Options,
    watch: Watch = unwatched,
) -> Evaluation:
    """Score one split in all variants, and the validation split, if there is another, to choose thresholds on.

    Raises `InputDataError` (`data_invalid`) for a split without images, labels that mean nothing to the weights, and an
    unreadable image unless those are skipped.
    """
    require_splits(dataset, (options.split,))
    entries = dataset.of(options.split)
    others = () if options.split == VALIDATION else dataset.of(VALIDATION)
    labels = truth_of((*entries, *others), scorer, options)
    advance = watch(f"scoring {options.split}", len(entries))
    scored = score(entries, scorer, options.treatment, skip_unreadable=options.skip_unreadable, advance=advance)
    checked = _validation(others, scorer, options, watch) if others else None
    validation = checked.variants[Variant.ORIGINAL] if checked else None

    thresholds = _thresholds(validation, labels, scorer, options)
    variants = tuple(
        _result(variant, scores, labels, scorer, options, thresholds) for variant, scores in scored.variants.items()
    )
    rows, note = _calibrations(scored.variants.get(Variant.ORIGINAL), validation, labels, scorer, options)
    return Evaluation(
        dataset,
        scorer,
        options,
        labels,
        thresholds is not None,
        _note(checked) if checked else "",
        variants,
        scored.unreadable,
        rows,
        note,
    )


def truth_of(entries: tuple[Entry, ...], scorer: Scorer, options: Options) -> dict[str, Label]:
    """What the labels of `entries` mean to the weights; see `read_labels`."""
    return read_labels(
        {entry.label for entry in entries},
        scorer.classes,
        authentic=options.authentic,
        synthetic=options.synthetic,
        alias=options.alias,
    )


def classified(scores: Scores, labels: Mapping[str, Label]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits [P, C] and true classes [P] of the tiles whose label is a class of the weights."""
    of_images = np.array([-1 if (index := labels[entry.label].index) is None else index for entry in scores.entries])
    classes = of_images[scores.image] if len(of_images) else np.empty(0, np.int64)
    return scores.logits[classes >= 0], classes[classes >= 0]


def _validation(entries: tuple[Entry, ...], scorer: Scorer, options: Options, watch: Watch) -> Scored:
    treatment = Treatment(patches=options.treatment.patches)
    advance = watch(f"scoring {VALIDATION}, to choose thresholds", len(entries))
    return score(entries, scorer, treatment, skip_unreadable=options.skip_unreadable, advance=advance)


def _note(scored: Scored) -> str:
    originals = scored.variants[Variant.ORIGINAL]
    return (
        f"{len(originals.entries):,} scored, {len(originals.too_small):,} under {TILE} px, "
        f"{len(scored.unreadable):,} unreadable"
    )


def _rows(scores: Scores, labels: Mapping[str, Label], scorer: Scorer, options: Options) -> dict[Level, Items]:
    return items(scores, labels, temperature=scorer.temperature, rule=options.rule, how=options.aggregate)


def _thresholds(
    validation: Scores | None, labels: Mapping[str, Label], scorer: Scorer, options: Options
) -> dict[Level, float] | None:
    """The best threshold of each level on the validation split; None unless that has both kinds of images."""
    if validation is None:
        return None
    found = {level: best_threshold(rows) for level, rows in _rows(validation, labels, scorer, options).items()}
    known = {level: threshold for level, threshold in found.items() if threshold is not None}
    return known or None


def _result(
    variant: Variant,
    scores: Scores,
    labels: Mapping[str, Label],
    scorer: Scorer,
    options: Options,
    thresholds: Mapping[Level, float] | None,
) -> VariantResult:
    levels = _rows(scores, labels, scorer, options)
    figures = {}
    for level, rows in levels.items():
        best = best_threshold(rows) if thresholds is None else thresholds[level]
        chosen_on = options.split if thresholds is None else VALIDATION
        figures[level] = _figures(rows, scorer.classes, best, chosen_on, options.bootstrap)
    return VariantResult(variant, len(scores.entries), scores.too_small, figures, levels)


def _figures(
    rows: Items, classes: tuple[str, ...], best: float | None, chosen_on: str, bootstrap: Bootstrap
) -> LevelFigures:
    return LevelFigures(
        count=len(rows),
        authentic=int((~rows.synthetic).sum()),
        synthetic=int(rows.synthetic.sum()),
        pictures=len(np.unique(rows.pictures)),
        at_half=AtThreshold(HALF, None, detection(rows, HALF, bootstrap)),
        at_best=None if best is None else AtThreshold(best, chosen_on, detection(rows, best, bootstrap)),
        areas=areas(rows, bootstrap),
        recognition=recognition(rows, classes, bootstrap),
        answers=answer_table(rows, classes),
        recalls=recalls_by_dataset(rows, HALF, best, bootstrap),
    )


def _calibrations(
    tested: Scores | None, validation: Scores | None, labels: Mapping[str, Label], scorer: Scorer, options: Options
) -> tuple[tuple[CalibrationRow, ...], str]:
    """Calibration of the original tiles as the weights are, without their temperature, and with one fitted anew."""
    logits, classes = classified(tested, labels) if tested else (np.empty((0, 0), np.float32), np.empty(0, np.int64))
    if not len(classes):
        return (), "No original image is of a class of the weights."
    temperatures = {"without temperature": 1.0}
    if scorer.temperature != 1:
        temperatures["temperature of the weights file"] = scorer.temperature
    note = "" if validation else f"No temperature was fitted: there is no {VALIDATION} split beside {options.split}."
    if validation:
        try:
            temperatures[f"fitted on {VALIDATION}"] = fit_temperature(*classified(validation, labels))
        except SetupError as error:
            note = f"No temperature was fitted: {error.message}."
    return tuple(
        CalibrationRow(what, calibration(logits, classes, temperature)) for what, temperature in temperatures.items()
    ), note
