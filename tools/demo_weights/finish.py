"""The demo weights after training: converted to float16, calibrated, evaluated, and their figures published."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
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
from worker.lab.dataset.entries import Dataset, FileSource
from worker.lab.evaluation.alterations import Variant
from worker.lab.evaluation.bootstrap import Bootstrap, Estimate, complement, estimate
from worker.lab.evaluation.calibration import calibrate, write_calibrated
from worker.lab.evaluation.detection import HALF, detection, recalls_by_dataset
from worker.lab.evaluation.evaluate import Evaluation, VariantResult, evaluate
from worker.lab.evaluation.items import Declarations, Level, Options
from worker.lab.evaluation.scorer import open_scorer
from worker.lab.evaluation.scoring import StartTask, Treatment, no_progress
from worker.lab.imaging import encode, resize, scaled_size
from worker.localization.heatmap import heatmap
from worker.localization.overlaps import overlap, region_overlap
from worker.localization.regions import find_regions
from worker.pipeline.examine import content_digest
from worker.pipeline.measure import complete, measure
from worker.policy.policy import default_policy
from worker.settings import Settings

DATA_NAME = "photographs rebuilt by networks"
STRIDE = 112
"""Distance between the tiles of a map, in pixels."""
THRESHOLD = 0.5
"""A pixel whose score is at least this counts as found."""
COMPOSITES = 20
"""So many composites are mapped: each has over a hundred tiles."""
TIERS = {"web": (768, 60), "hard": (512, 40)}
"""What people see of an image, beside the original: its longest side in pixels, and its JPEG quality."""
_FIGURES = "figures.json"
_FIRST_CROP = re.compile(r"-00[-.]")
NO_INTERVAL = (0.0, 1.0)
"""Of a figure without an interval; every figure lies in it."""
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
    of_map: float
    """Intersection over union of the rebuilt region and the pixels of the map at `THRESHOLD` or above."""
    of_region: float
    """Intersection over union of the rebuilt region and the first region of a verdict by the default policy."""


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


@dataclass(frozen=True, eq=False)
class Evaluations:
    """Of the test photographs."""

    known: Evaluation
    """The networks that are classes, in all variants."""
    held_out: Evaluation
    """The networks that are not, as originals."""
    tiers: Mapping[str, Evaluation]
    """The networks that are classes, in each delivery tier."""

    @property
    def threshold(self) -> float:
        """The threshold of image scores with the highest accuracy on the validation photographs."""
        best = self.known.plain.levels[Level.IMAGE].at_best
        return THRESHOLD if best is None else best.threshold


def evaluations(weights: Path, data: Dataset, work: Path, start_task: StartTask = no_progress) -> Evaluations:
    """Score the test photographs; images of the tiers are written into `work`."""
    scorer = open_scorer(weights, "cpu")
    known, others = _known(data, scorer.classes), _held_out(data)
    tests = replace(known, entries=known.of("test"))
    options = Options(_treatment())
    return Evaluations(
        evaluate(known, scorer, Options(_treatment(*Variant)), start_task),
        evaluate(others, scorer, replace(options, declared=Declarations(synthetic=others.labels)), start_task),
        {
            name: evaluate(write_tier(tests, work / name, *tier), scorer, options, start_task)
            for name, tier in TIERS.items()
        },
    )


def write_tier(data: Dataset, folder: Path, longest: int, quality: int) -> Dataset:
    """The images of `data` in `folder`, shrunk to a longest side of `longest` pixels and saved as JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, entry in enumerate(data):
        pixels = entry.pixels(Settings().max_pixels)
        scale = min(1.0, longest / max(pixels.shape[:2]))
        path = folder / f"{number:05}.jpg"
        path.write_bytes(encode(resize(pixels, scaled_size(pixels, scale)), "JPEG", quality))
        entries.append(replace(entry, name=path.name, source=FileSource(path)))
    return Dataset(folder, tuple(entries))


def _treatment(*variants: Variant) -> Treatment:
    settings = Settings()
    return Treatment(settings.grid, settings.max_pixels, variants or (Variant.ORIGINAL,))


def figures(found: Evaluations, regions: list[Overlap]) -> list[Figure]:
    """The published figures, in the order of the table."""
    return [
        *_detection(found.known, found.threshold),
        *_tiers(found),
        *_calibration(found.known),
        *_by_dataset(found.known, found.threshold),
        *_by_dataset(found.held_out, found.threshold),
        *_localization(regions),
    ]


def find_composites(weights: Path, data: Path) -> list[Overlap]:
    """How well the regions of all composites are found."""
    settings = Settings(weights=str(weights), device="cpu")
    with Detector(settings) as detector:
        return list(overlaps(data, detector, max_pixels=settings.max_pixels))


def publish(weights: Path, target: Path, published: list[Figure]) -> None:
    """Write `weights` as `target` with the figures in its provenance."""
    rewrite_weights(weights, target, {"evaluation": [asdict(figure) for figure in published]})


def write_figures(found: Sequence[Figure], folder: Path) -> None:
    """Write the figures into `folder`, as a table to read and as JSON."""
    (folder / "figures.md").write_text(markdown(found), encoding="utf-8")
    (folder / _FIGURES).write_text(json.dumps([asdict(figure) for figure in found], indent=1), encoding="utf-8")


def read_figures(folder: Path) -> list[Figure]:
    """The figures that `write_figures` wrote."""
    return [Figure(**figure) for figure in json.loads((folder / _FIGURES).read_text(encoding="utf-8"))]


def published_figures(weights: Path) -> list[Figure]:
    """The figures in the provenance of a weights file."""
    _, info = load_weights(weights)
    return [Figure(**figure) for figure in info.provenance["evaluation"]]


def _known(data: Dataset, classes: tuple[str, ...]) -> Dataset:
    return replace(data, entries=tuple(entry for entry in data if entry.label in classes))


def first_crops(data: Dataset) -> Dataset:
    """Without the validation images that show a further crop of their piece, so that scoring takes minutes."""
    kept = (entry for entry in data if entry.split != "val" or _FIRST_CROP.search(entry.name))
    return replace(data, entries=tuple(kept))


def _held_out(data: Dataset) -> Dataset:
    return replace(data, entries=tuple(entry for entry in data if entry.label.startswith(HELD_OUT_PREFIX)))


def _detection(evaluation: Evaluation, threshold: float) -> Iterator[Figure]:
    for result in evaluation.variants:
        of_images = result.levels[Level.IMAGE]
        yield from _f1(result, threshold, str(result.variant))
        if of_images.recognition:
            found = of_images.recognition
            yield _figure(result.variant, "recognition F1, macro", found.f1_macro, found.count)
    of_images = evaluation.plain.levels[Level.IMAGE]
    if of_images.recognition:
        for one in of_images.recognition.classes:
            yield _figure(one.name, "recognition F1", one.f1, one.count)


def _tiers(found: Evaluations) -> Iterator[Figure]:
    for name, evaluation in found.tiers.items():
        yield from _f1(evaluation.plain, found.threshold, f"tier {name}")


def _f1(result: VariantResult, threshold: float, images: str) -> Iterator[Figure]:
    items = result.items[Level.IMAGE]
    for name, at in (("detection F1", HALF), ("detection F1 at the threshold", threshold)):
        yield _figure(images, name, detection(items, at, Bootstrap())["f1"], len(items))


def _calibration(evaluation: Evaluation) -> Iterator[Figure]:
    """Of tiles, at the temperature of the weights; without an interval, which the calibration error has none of."""
    temperature = evaluation.scorer.temperature
    result = next(row.result for row in evaluation.calibration if row.result.temperature == temperature)
    value = round(result.expected_error, 4)
    yield Figure("original", "expected calibration error", value, *NO_INTERVAL, result.count)


def _by_dataset(evaluation: Evaluation, threshold: float) -> Iterator[Figure]:
    for row in recalls_by_dataset(evaluation.plain.items[Level.IMAGE], HALF, threshold, Bootstrap()):
        for name, correct in (("called synthetic", row.at_half), ("called synthetic at the threshold", row.at_best)):
            if correct is not None:
                yield _figure(row.dataset, name, correct if row.synthetic else complement(correct), row.count)


def _localization(found: list[Overlap]) -> Iterator[Figure]:
    _, owners = np.unique([one.composite.photograph for one in found], return_inverse=True)
    draws = np.concatenate(list(Bootstrap().draws(int(owners.max()) + 1))).astype(int)
    for measured, ious in (("map", [one.of_map for one in found]), ("region", [one.of_region for one in found])):
        values = np.array(ious)
        resampled = [values.repeat(draw[owners]) for draw in draws]
        for name, statistic in (("median", _median), (f"at least {THRESHOLD}", _share_found)):
            spread = estimate(statistic(values), np.array([statistic(drawn) for drawn in resampled]))
            yield _figure("composites", f"IoU of the {measured}, {name}", spread, len(found))


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
    for composite in track(read_composites(data / "composites.csv")[:COMPOSITES], "mapping composites"):
        content = (data / composite.path).read_bytes()
        image = decode(content, max_pixels)
        scan = complete(measure(image, content_digest(content), tiling, detector), image, detector)
        heat = heatmap(scan)
        regions = find_regions(heat, default_policy().region_at)
        yield Overlap(composite, overlap(heat, composite.box, THRESHOLD), region_overlap(regions, composite.box))


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
        f"| {of.images} | {of.name} | {of.value:.3f} | {_interval(of)} | {of.count} |\n" for of in figures
    )


def _interval(figure: Figure) -> str:
    return "none" if (figure.low, figure.high) == NO_INTERVAL else f"{figure.low:.3f}–{figure.high:.3f}"


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
