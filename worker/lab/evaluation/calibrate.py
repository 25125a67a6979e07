"""Fitting a temperature on validation images, and the score thresholds that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from worker.detector.weights import WeightsInfo, load_weights, rewrite_weights
from worker.errors import ConfigurationError, ErrorCode, SetupError
from worker.lab.dataset.checks import require_splits
from worker.lab.dataset.entries import Dataset
from worker.lab.evaluation.calibration import Calibration, calibration, fit_temperature
from worker.lab.evaluation.evaluate import Watch, classified, truth_of, unwatched
from worker.lab.evaluation.items import Level, items
from worker.lab.evaluation.labels import Label
from worker.lab.evaluation.results import Options
from worker.lab.evaluation.scorer import Scorer
from worker.lab.evaluation.scoring import Scored, score
from worker.lab.evaluation.thresholds import SUGGESTED_RATES, Suggestion, suggest
from worker.lab.evaluation.variants import Variant

TEST = "test"


@dataclass(frozen=True)
class BeforeAfter:
    """Calibration of one split's patches with the temperature that was, and with the fitted one."""

    split: str
    before: Calibration
    after: Calibration
    too_small: int
    """Images under 224 px, which are not scored."""
    unreadable: int
    """Images that were skipped."""


@dataclass(frozen=True)
class Fitted:
    """A temperature, what it changes, and thresholds of image scores at it."""

    temperature: float
    splits: tuple[BeforeAfter, ...]
    """The split it was fitted on, and test, if there is one."""
    suggestions: tuple[Suggestion, ...]
    """From the authentic images of the split it was fitted on."""


def calibrate(dataset: Dataset, scorer: Scorer, options: Options, watch: Watch = unwatched) -> Fitted:
    """Fit the temperature of a weights file on `options.split`; `options.treatment.variants` are the originals.

    Raises `SetupError`: `weights_invalid` for a TorchScript program, which cannot carry a temperature; `data_invalid`
    for a split without images or from which no temperature follows.
    """
    if not scorer.stores_temperature:
        raise _no_weights_file(scorer.name)
    names = dict.fromkeys((options.split, TEST))
    present = {name: entries for name in names if (entries := dataset.of(name))}
    require_splits(dataset, (options.split,))
    labels = truth_of(tuple(entry for entries in present.values() for entry in entries), scorer, options)

    def scored(name: str) -> Scored:
        advance = watch(f"scoring {name}", len(present[name]))
        return score(present[name], scorer, options.treatment, skip_unreadable=options.skip_unreadable, advance=advance)

    fitting = scored(options.split)
    originals = fitting.variants[Variant.ORIGINAL]
    temperature = fit_temperature(*classified(originals, labels))
    of_splits = {name: fitting if name == options.split else scored(name) for name in present}
    rows = items(originals, labels, temperature=temperature, rule=options.rule, how=options.aggregate)[Level.IMAGE]
    return Fitted(
        temperature,
        tuple(
            found
            for name, of in of_splits.items()
            if (found := _before_after(name, of, labels, scorer.temperature, temperature))
        ),
        tuple(suggest(rows, rate) for rate in SUGGESTED_RATES),
    )


def _before_after(
    split: str, scored: Scored, labels: dict[str, Label], before: float, after: float
) -> BeforeAfter | None:
    originals = scored.variants[Variant.ORIGINAL]
    logits, classes = classified(originals, labels)
    if not len(classes):
        return None
    return BeforeAfter(
        split,
        calibration(logits, classes, before),
        calibration(logits, classes, after),
        len(originals.too_small),
        len(scored.unreadable),
    )


def write_calibrated(source: Path, target: Path, fitted: Fitted, data: str) -> WeightsInfo:
    """The weights of `source` with the fitted temperature, as `target`, which may be `source` itself.

    What was fitted on what is added to the provenance. Raises `ConfigurationError` (`weights_invalid`).
    """
    _, info = load_weights(source)
    fit = fitted.splits[0]
    calibrated = {
        "data": data,
        "split": fit.split,
        "patches": fit.after.count,
        "expected_calibration_error": [round(fit.before.expected_error, 6), round(fit.after.expected_error, 6)],
        "uncalibrated_sha256": info.sha256,
    }
    return rewrite_weights(source, target, {"calibration": calibrated}, temperature=fitted.temperature)


def require_weights_file(path: Path) -> None:
    """Raises `ConfigurationError` (`weights_invalid`) unless `path` is of the kind that can carry a temperature."""
    if path.suffix != ".safetensors":
        raise _no_weights_file(str(path))


def _no_weights_file(name: str) -> SetupError:
    return ConfigurationError(
        ErrorCode.WEIGHTS_INVALID,
        f"{name} is a TorchScript program, which cannot carry a temperature; turn SuSy as released into a weights file "
        "with `susy weights import` first",
    )
