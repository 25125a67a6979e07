"""An evaluation: weights, labelled images, and all figures of the card's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from schema.scan import TILE
from worker.errors import SetupError
from worker.lab.dataset.checks import require_splits
from worker.lab.dataset.entries import Dataset, Entry
from worker.lab.evaluation.alterations import Variant
from worker.lab.evaluation.bootstrap import Bootstrap, Estimate
from worker.lab.evaluation.calibration import Calibration, calibration, fit_temperature
from worker.lab.evaluation.detection import HALF, Recall, areas, best_threshold, detection, recalls_by_dataset
from worker.lab.evaluation.items import Items, Label, Level, Options, classified_logits, make_items, read_labels
from worker.lab.evaluation.recognition import ConfusionMatrix, Recognition, confusion, recognition
from worker.lab.evaluation.scorer import Scorer
from worker.lab.evaluation.scoring import Scored, Scores, StartTask, Unreadable, no_progress, score
from worker.sources.files import as_text

VALIDATION = "val"


@dataclass(frozen=True)
class AtThreshold:
    """Detection at one threshold."""

    threshold: float
    chosen_on: str | None
    """The split on which it gave the highest accuracy; None for the fixed one."""
    figures: dict[str, Estimate]


@dataclass(frozen=True)
class LevelFigures:
    """All figures of one variant, with one row per patch or per image."""

    count: int
    authentic: int
    synthetic: int
    pictures: int
    at_half: AtThreshold
    at_best: AtThreshold | None
    """None where no threshold could be chosen, because all items are authentic or all synthetic."""
    areas: dict[str, Estimate]
    recognition: Recognition | None
    answers: ConfusionMatrix
    recalls: tuple[Recall, ...]


@dataclass(frozen=True, eq=False)
class VariantResult:
    """One variant: its figures and the rows they are computed from."""

    variant: Variant
    scored: int
    too_small: tuple[Entry, ...]
    levels: dict[Level, LevelFigures]
    items: dict[Level, Items]


@dataclass(frozen=True)
class CalibrationRow:
    """Calibration on the evaluated split at one temperature."""

    what: str
    result: Calibration


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that the tables and the report are made from."""

    dataset: Dataset
    scorer: Scorer
    options: Options
    labels: dict[str, Label]
    validated: bool
    """Whether best thresholds were chosen on the validation split."""
    validation_note: str
    """How many validation images were scored and not scored; empty without a validation split."""
    variants: tuple[VariantResult, ...]
    unreadable: tuple[Unreadable, ...]
    calibration: tuple[CalibrationRow, ...]
    calibration_note: str
    """Why no temperature was fitted; empty when one was."""

    @property
    def name(self) -> str:
        """The name of the data set's folder, or of its manifest if that is not called `manifest`."""
        path = self.dataset.path.resolve()
        return as_text(path.parent.name if path.stem == "manifest" else path.name)

    @property
    def plain(self) -> VariantResult:
        """The originals, or the first variant when those were left out."""
        return next((result for result in self.variants if result.variant is Variant.ORIGINAL), self.variants[0])


def evaluate(dataset: Dataset, scorer: Scorer, options: Options, start_task: StartTask = no_progress) -> Evaluation:
    """Score one split in all variants, and the validation split, if there is another, to choose thresholds on.

    Raises `InputDataError` (`data_invalid`) for a split without images, labels that mean nothing to the weights, and an
    unreadable image unless those are skipped.
    """
    require_splits(dataset, (options.split,))
    entries = dataset.of(options.split)
    others = () if options.split == VALIDATION else dataset.of(VALIDATION)
    labels = read_labels((*entries, *others), scorer.classes, options.declared)
    advance = start_task(f"scoring {options.split}", len(entries))
    scored = score(entries, scorer, options.treatment, skip_unreadable=options.skip_unreadable, advance=advance)
    validated = _score_validation(others, scorer, options, start_task) if others else None
    validation = validated.variants[Variant.ORIGINAL] if validated else None

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
        _validation_note(validated) if validated else "",
        variants,
        scored.unreadable,
        rows,
        note,
    )


def _score_validation(entries: tuple[Entry, ...], scorer: Scorer, options: Options, start_task: StartTask) -> Scored:
    of_test = options.treatment
    treatment = replace(of_test, variants=(Variant.ORIGINAL,))
    advance = start_task(f"scoring {VALIDATION}, to choose thresholds", len(entries))
    return score(entries, scorer, treatment, skip_unreadable=options.skip_unreadable, advance=advance)


def _validation_note(scored: Scored) -> str:
    originals = scored.variants[Variant.ORIGINAL]
    return (
        f"{len(originals.entries):,} scored, {len(originals.too_small):,} under {TILE} px, "
        f"{len(scored.unreadable):,} unreadable"
    )


def _items(scores: Scores, labels: Mapping[str, Label], scorer: Scorer, options: Options) -> dict[Level, Items]:
    return make_items(scores, labels, temperature=scorer.temperature, rule=options.rule, how=options.aggregate)


def _thresholds(
    validation: Scores | None, labels: Mapping[str, Label], scorer: Scorer, options: Options
) -> dict[Level, float] | None:
    """The best threshold of each level on the validation split; None unless that has both kinds of images."""
    if validation is None:
        return None
    found = {level: best_threshold(items) for level, items in _items(validation, labels, scorer, options).items()}
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
    levels = _items(scores, labels, scorer, options)
    figures = {}
    for level, items in levels.items():
        best = best_threshold(items) if thresholds is None else thresholds[level]
        chosen_on = options.split if thresholds is None else VALIDATION
        figures[level] = _figures(items, scorer.classes, best, chosen_on, options.bootstrap)
    return VariantResult(variant, len(scores.entries), scores.too_small, figures, levels)


def _figures(
    items: Items, classes: tuple[str, ...], best: float | None, chosen_on: str, bootstrap: Bootstrap
) -> LevelFigures:
    return LevelFigures(
        count=len(items),
        authentic=int((~items.synthetic).sum()),
        synthetic=int(items.synthetic.sum()),
        pictures=len(np.unique(items.pictures)),
        at_half=AtThreshold(HALF, None, detection(items, HALF, bootstrap)),
        at_best=None if best is None else AtThreshold(best, chosen_on, detection(items, best, bootstrap)),
        areas=areas(items, bootstrap),
        recognition=recognition(items, classes, bootstrap),
        answers=confusion(items, classes),
        recalls=recalls_by_dataset(items, HALF, best, bootstrap),
    )


def _calibrations(
    tested: Scores | None, validation: Scores | None, labels: Mapping[str, Label], scorer: Scorer, options: Options
) -> tuple[tuple[CalibrationRow, ...], str]:
    """Calibration of the original tiles without a temperature, at that of the weights file, and at a fitted one; and
    why none was fitted."""
    if tested is None or not len((logits_and_classes := classified_logits(tested, labels))[1]):
        return (), "No original image is of a class of the weights."
    temperatures = {"without temperature": 1.0}
    if scorer.temperature != 1:
        temperatures["temperature of the weights file"] = scorer.temperature
    note = "" if validation else f"No temperature was fitted: there is no {VALIDATION} split beside {options.split}."
    if validation:
        try:
            temperatures[f"fitted on {VALIDATION}"] = fit_temperature(*classified_logits(validation, labels))
        except SetupError as error:
            note = f"No temperature was fitted: {error.message}."
    return tuple(
        CalibrationRow(what, calibration(*logits_and_classes, temperature))
        for what, temperature in temperatures.items()
    ), note
