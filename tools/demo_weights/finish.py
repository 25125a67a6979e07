"""The demo weights after training: halved, calibrated, and evaluated on held-out photographs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tools.demo_weights.build import HELD_OUT_PREFIX
from tools.demo_weights.regions import THRESHOLD, Overlap, overlaps
from worker.detector.detector import Detector
from worker.detector.weights import load_weights, rewrite_weights
from worker.lab.dataset.entries import Dataset
from worker.lab.dataset.layouts import open_dataset
from worker.lab.evaluation.alterations import Variant
from worker.lab.evaluation.bootstrap import Bootstrap, Estimate, estimate
from worker.lab.evaluation.calibration import calibrate, write_calibrated
from worker.lab.evaluation.evaluate import Evaluation, evaluate
from worker.lab.evaluation.items import Declarations, Level, Options
from worker.lab.evaluation.scorer import open_scorer
from worker.lab.evaluation.scoring import StartTask, Treatment, no_progress
from worker.settings import Settings

DATA_NAME = "photographs rebuilt by networks"


@dataclass(frozen=True)
class Figure:
    """One published figure, per image, with its 95 % interval over photographs."""

    images: str
    name: str
    value: float
    low: float
    high: float
    count: int


def halve(trained: Path, target: Path) -> None:
    """Write trained weights as `target`: float16, marked as demo weights."""
    rewrite_weights(trained, target, {"demo": True}, dtype=torch.float16)


def fit_temperature(weights: Path, data: Dataset, start_task: StartTask = no_progress) -> None:
    """Fit the temperature of `weights` on the validation photographs, and write it into the file."""
    scorer = open_scorer(weights, "cpu")
    fitted = calibrate(_known(data, scorer.classes), scorer, Options(_treatment(), "val"), start_task)
    write_calibrated(weights, weights, fitted, DATA_NAME)


def evaluations(weights: Path, data: Dataset, start_task: StartTask = no_progress) -> tuple[Evaluation, Evaluation]:
    """On the test photographs: the networks that are classes in all variants, and the held-out ones as they are."""
    scorer = open_scorer(weights, "cpu")
    known, others = _known(data, scorer.classes), _held_out(data)
    return (
        evaluate(known, scorer, Options(_treatment(*Variant)), start_task),
        evaluate(others, scorer, Options(_treatment(), declared=Declarations(synthetic=others.labels)), start_task),
    )


def _treatment(*variants: Variant) -> Treatment:
    settings = Settings()
    return Treatment(settings.grid, settings.max_pixels, variants or (Variant.ORIGINAL,))


def figures(known: Evaluation, held_out: Evaluation, found: list[Overlap]) -> list[Figure]:
    """What is published, in the order of the table."""
    return [*_detection(known), *_by_dataset(known), *_by_dataset(held_out), *_localization(found)]


def mapped(weights: Path, data: Path) -> list[Overlap]:
    """How well the regions of all composites are found."""
    settings = Settings(weights=str(weights), device="cpu")
    with Detector(settings) as detector:
        return list(overlaps(data, detector, max_pixels=settings.max_pixels))


def publish(weights: Path, target: Path, published: list[Figure]) -> None:
    """Write `weights` as `target`, with the figures in its provenance."""
    rewrite_weights(weights, target, {"evaluation": [asdict(figure) for figure in published]})


def published_figures(weights: Path) -> list[Figure]:
    """The figures a weights file carries."""
    _, info = load_weights(weights)
    return [Figure(**figure) for figure in info.provenance["evaluation"]]


def open_rebuilt(folder: Path) -> Dataset:
    """The data set under `folder`, where a picture is a whole photograph: crops of one photograph err together, so
    intervals must draw photographs."""
    data = open_dataset(folder / "manifest.csv")
    return replace(data, entries=tuple(replace(entry, picture=_photograph(entry.picture)) for entry in data))


def _photograph(picture: str) -> str:
    """`dragonfly-03`, the fourth crop, → `dragonfly`."""
    name, _, number = picture.rpartition("-")
    return name if number.isdecimal() else picture


def _known(data: Dataset, classes: tuple[str, ...]) -> Dataset:
    return replace(data, entries=tuple(entry for entry in data if entry.label in classes))


def _held_out(data: Dataset) -> Dataset:
    return replace(data, entries=tuple(entry for entry in data if entry.label.startswith(HELD_OUT_PREFIX)))


def _detection(evaluation: Evaluation) -> Iterator[Figure]:
    for result in evaluation.variants:
        of_images = result.levels[Level.IMAGE]
        yield _figure(result.variant, "detection F1", of_images.at_half.figures["f1"], of_images.count)
        if of_images.recognition:
            found = of_images.recognition
            yield _figure(result.variant, "recognition F1, macro", found.f1_macro, found.count)
    of_images = evaluation.plain.levels[Level.IMAGE]
    if of_images.recognition:
        for one in of_images.recognition.classes:
            yield _figure(one.name, "recognition F1", one.f1, one.count)


def _by_dataset(evaluation: Evaluation) -> Iterator[Figure]:
    for row in evaluation.plain.levels[Level.IMAGE].recalls:
        called = row.at_half if row.synthetic else row.false_positive_rate
        yield _figure(row.dataset, "called synthetic", called, row.count)


def _localization(found: list[Overlap]) -> Iterator[Figure]:
    values = np.array([one.iou for one in found])
    _, owners = np.unique([one.composite.photograph for one in found], return_inverse=True)
    draws = np.concatenate(list(Bootstrap().draws(int(owners.max()) + 1))).astype(int)
    resampled = [values.repeat(draw[owners]) for draw in draws]
    for name, statistic in (("IoU of the region, median", _median), (f"IoU at least {THRESHOLD}", _share_found)):
        spread = estimate(statistic(values), np.array([statistic(drawn) for drawn in resampled]))
        yield _figure("composites", name, spread, len(found))


def _median(ious: NDArray[np.float64]) -> float:
    return float(np.median(ious))


def _share_found(ious: NDArray[np.float64]) -> float:
    return float((ious >= THRESHOLD).mean())


def _figure(images: str, name: str, found: Estimate, count: int) -> Figure:
    if found.value is None:
        raise ValueError(f"{images} has no image to compute {name} from")
    # Where no resample differs, the interval is the value.
    low, high = (found.value if end is None else end for end in (found.low, found.high))
    value, low, high = (round(end, 4) for end in (found.value, low, high))
    return Figure(str(images), name, value, low, high, count)
