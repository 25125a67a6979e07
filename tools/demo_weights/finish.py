"""The demo weights after training: converted to float16, calibrated, evaluated, and their figures published."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from schema.scan import SelectionGrid, Tiling
from tools.demo_weights.build import HELD_OUT_PREFIX, Composite
from worker.detector.detector import Detector
from worker.detector.weights import load_weights, rewrite_weights, save_weights
from worker.intake.decode import decode
from worker.lab.dataset.entries import Dataset
from worker.lab.evaluation.alterations import Variant
from worker.lab.evaluation.bootstrap import Bootstrap, Estimate, estimate
from worker.lab.evaluation.calibration import calibrate, write_calibrated
from worker.lab.evaluation.evaluate import Evaluation, evaluate
from worker.lab.evaluation.items import Declarations, Level, Options
from worker.lab.evaluation.scorer import open_scorer
from worker.lab.evaluation.scoring import StartTask, Treatment, no_progress
from worker.localization import heatmap, rasterize
from worker.pipeline.examine import content_digest
from worker.pipeline.measure import complete, measure
from worker.settings import Settings

DATA_NAME = "photographs rebuilt by networks"
STRIDE = 112
"""Distance between the tiles of a map, in pixels."""
THRESHOLD = 0.5
"""A pixel whose score is at least this counts as found."""
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Figure:
    """One published figure, per image, with its 95 % interval over photographs."""

    images: str
    name: str
    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Overlap:
    """One composite, and how well its region was found."""

    composite: Composite
    iou: float


def to_half(trained: Path, target: Path) -> None:
    """Write trained weights as `target`: float16, marked as demo weights."""
    rewrite_weights(trained, target, {"demo": True}, dtype=torch.float16)


def average(trained: Sequence[Path], target: Path) -> None:
    """Write the mean of several weights files, trained from the same start, with the first one's provenance."""
    models = [load_weights(path)[0] for path in trained]
    states = [model.state_dict() for model in models]
    for name, value in states[0].items():
        value.copy_(torch.stack([state[name].double() for state in states]).mean(dim=0))
    _, info = load_weights(trained[0])
    save_weights(
        target,
        models[0],
        name=info.name,
        version=info.version,
        classes=info.classes,
        provenance={**info.provenance, "averaged_runs": len(trained)},
    )


def fit_temperature(weights: Path, data: Dataset, start_task: StartTask = no_progress) -> None:
    """Fit the temperature of `weights` on the validation photographs and write it into the file."""
    scorer = open_scorer(weights, "cpu")
    fitted = calibrate(_known(data, scorer.classes), scorer, Options(_treatment(), "val"), start_task)
    write_calibrated(weights, weights, fitted, DATA_NAME)


def evaluations(weights: Path, data: Dataset, start_task: StartTask = no_progress) -> tuple[Evaluation, Evaluation]:
    """On the test photographs: the networks that are classes in all variants, and the held-out ones as originals."""
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
    """The published figures, in the order of the table."""
    return [*_detection(known), *_by_dataset(known), *_by_dataset(held_out), *_localization(found)]


def find_composites(weights: Path, data: Path) -> list[Overlap]:
    """How well the regions of all composites are found."""
    settings = Settings(weights=str(weights), device="cpu")
    with Detector(settings) as detector:
        return list(overlaps(data, detector, max_pixels=settings.max_pixels))


def publish(weights: Path, target: Path, published: list[Figure]) -> None:
    """Write `weights` as `target` with the figures in its provenance."""
    rewrite_weights(weights, target, {"evaluation": [asdict(figure) for figure in published]})


def published_figures(weights: Path) -> list[Figure]:
    """The figures in the provenance of a weights file."""
    _, info = load_weights(weights)
    return [Figure(**figure) for figure in info.provenance["evaluation"]]


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
    # Where all resamples agree, the interval is the value.
    low, high = (found.value if end is None else end for end in (found.low, found.high))
    value, low, high = (round(end, 4) for end in (found.value, low, high))
    return Figure(str(images), name, value, low, high, count)


def overlaps(data: Path, detector: Detector, *, max_pixels: int) -> Iterator[Overlap]:
    """Score every composite listed in `data`/composites.csv as a worker with maps at `STRIDE` does."""
    tiling = Tiling(SelectionGrid.COVERAGE, STRIDE)
    for composite in track(read_composites(data / "composites.csv"), "mapping composites"):
        content = (data / composite.path).read_bytes()
        image = decode(content, max_pixels)
        scan = complete(measure(image, content_digest(content), tiling, detector), image, detector)
        scores = rasterize(heatmap(scan), max(image.width, image.height))
        yield Overlap(composite, overlap(scores >= THRESHOLD, composite))


def overlap(found: NDArray[np.bool_], true: Composite) -> float:
    """Intersection over union of the pixels found, bool [H, W], and the region of a composite; 0..1."""
    region = np.zeros_like(found)
    region[true.y : true.y + true.height, true.x : true.x + true.width] = True
    return float((found & region).sum() / (found | region).sum())


def read_composites(path: Path) -> list[Composite]:
    """The lines of `composites.csv`."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Composite(path, photograph, network, *map(int, region))
            for path, photograph, network, *region in list(csv.reader(file))[1:]
        ]


def markdown(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    head = "| images | figure | value | 95 % interval | n |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| {of.images} | {of.name} | {of.value:.3f} | {of.low:.3f}–{of.high:.3f} | {of.count} |\n" for of in figures
    )


def insert(page: Path, figures: Sequence[Figure]) -> None:
    """Replace the table between the page's two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{markdown(figures)}{END}{after}", encoding="utf-8")


def compared(here: Sequence[Figure], published: Sequence[Figure]) -> list[tuple[Figure, Figure, bool]]:
    """Each published figure, the same figure here, and whether that lies in the published interval."""
    ours = {(figure.images, figure.name): figure for figure in here}
    return [
        (then, now, then.low <= now.value <= then.high)
        for then in published
        if (now := ours.get((then.images, then.name)))
    ]
