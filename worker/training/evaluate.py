"""Evaluate weights on held-out photographs: `python -m worker.training.evaluate WEIGHTS --data DIR --report FILE`.

`DIR` is a data set made by `worker.training.rebuild`. An image's score is the mean of 1 − p(authentic) over its five
tiles of highest contrast; it is called synthetic from 0.5 on. With `--publish FILE` the weights are halved to float16
first, evaluated as such, and written with the figures in their provenance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from worker.detector.model import SuSy
from worker.detector.weights import WeightsInfo, load_weights, save_weights
from worker.training.data import read_rgb
from worker.training.manifest import AUTHENTIC, COMPOSITES, HELD_OUT_PREFIX, PHOTOGRAPH, Row, read_manifest
from worker.training.scoring import Box, Scorer, overlap

Line = tuple[str, str, float, int]
"""Images, figure, value, number of images."""

THRESHOLD = 0.5
STRIDE = 112
"""Of the tiles of a localization map, in pixels."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A test image and its mean class probabilities, float32 [C]."""

    row: Row
    probabilities: NDArray[np.float32]

    @property
    def score(self) -> float:
        return 1 - float(self.probabilities[0])

    @property
    def called_synthetic(self) -> bool:
        return self.score >= THRESHOLD


@dataclass(frozen=True)
class Figures:
    """The evaluation, in the order of the report."""

    lines: tuple[Line, ...]

    def markdown(self) -> str:
        """A Markdown table."""
        head = "| images | figure | value | n |\n|---|---|---|---|\n"
        return head + "".join(f"| {group} | {name} | {value:.3f} | {n} |\n" for group, name, value, n in self.lines)


def evaluate(model: SuSy, info: WeightsInfo, data: Path) -> Figures:
    """All figures of the weights on the data set's test split."""
    rows = [row for row in read_manifest(data / "manifest.csv") if row.split == "test"]
    scorer = Scorer(model)
    scored: list[Scored] = []
    overlaps: list[float] = []
    for row in track(rows, "scoring"):
        if row.label == COMPOSITES and row.treatment not in info.classes:
            continue
        image = read_rgb(data / row.path)
        if row.label == COMPOSITES:
            box = Box(*(int(number) for number in row.region.split()))
            found = scorer.map(image, STRIDE) >= THRESHOLD
            overlaps.append(overlap(found, box))
        elif (probabilities := scorer.image(image)) is not None:
            scored.append(Scored(row, probabilities))
    return Figures((*_detection(scored, info.classes), *_recognition(scored, info.classes), *_localization(overlaps)))


def publish(path: Path, model: SuSy, info: WeightsInfo, figures: Figures) -> WeightsInfo:
    """Write demo weights as float16, with the figures in their provenance."""
    evaluation = [
        {"images": group, "figure": name, "value": round(value, 4), "n": n} for group, name, value, n in figures.lines
    ]
    provenance: dict[str, Any] = {"demo": True, **info.provenance, "evaluation": evaluation}
    return save_weights(
        path,
        model,
        name=info.name,
        version=info.version,
        classes=info.classes,
        provenance=provenance,
        dtype=torch.float16,
    )


def _detection(scored: Sequence[Scored], classes: Sequence[str]) -> list[Line]:
    known = [item for item in scored if item.row.label in classes]
    crops = [item for item in known if item.row.treatment != PHOTOGRAPH]
    authentic = [item for item in known if item.row.label == AUTHENTIC]
    trained = [item for item in known if item.row.label != AUTHENTIC]
    others = [item for item in scored if item.row.label not in classes]
    return [
        ("all crops", "detection F1", _f1(crops), len(crops)),
        *((name, "detection F1", _f1(part), len(part)) for name, part in _groups(crops, _encoding)),
        *((f"authentic, {name}", *_called(part)) for name, part in _groups(authentic, _treatment)),
        *((name, *_called(part)) for name, part in _groups(trained, _label)),
        *(
            (f"{name}, {at}", *_called(part))
            for name, of in _groups(trained, _label)
            for at, part in _groups(of, _treatment)
        ),
        *((f"{name} (not trained on)", *_called(part)) for name, part in _groups(others, _label)),
    ]


def _recognition(scored: Sequence[Scored], classes: Sequence[str]) -> list[Line]:
    """Macro F1 and recall of the most probable class."""
    known = [item for item in scored if item.row.label in classes and item.row.treatment != PHOTOGRAPH]
    truth = np.array([classes.index(item.row.label) for item in known])
    called = np.array([int(item.probabilities.argmax()) for item in known])
    lines: list[Line] = []
    f1s: list[float] = []
    for index, name in enumerate(classes):
        hits = int(((truth == index) & (called == index)).sum())
        count = int((truth == index).sum())
        f1s.append(2 * hits / max(1, count + int((called == index).sum())))
        lines.append((name, "recognition recall", hits / max(1, count), count))
    return [("all crops", "recognition macro F1", float(np.mean(f1s)), len(known)), *lines]


def _localization(overlaps: Sequence[float]) -> list[Line]:
    if not overlaps:
        return []
    half = sum(value >= 0.5 for value in overlaps) / len(overlaps)
    return [
        ("composites", "median IoU of the region", float(np.median(overlaps)), len(overlaps)),
        ("composites", "IoU at least 0.5", half, len(overlaps)),
    ]


def _groups(items: Sequence[Scored], key: Callable[[Scored], str]) -> list[tuple[str, list[Scored]]]:
    names = dict.fromkeys(key(item) for item in items)
    return [(name, [item for item in items if key(item) == name]) for name in sorted(names)]


def _encoding(item: Scored) -> str:
    parts = item.row.encoding.split()
    return f"JPEG {parts[2]}" if parts[0] == "jpg" else {"png": "PNG", "webp": "WebP"}[parts[0]]


def _treatment(item: Scored) -> str:
    return item.row.treatment or "resized"


def _label(item: Scored) -> str:
    return item.row.label.removeprefix(HELD_OUT_PREFIX)


def _f1(items: Sequence[Scored]) -> float:
    hits = sum(item.called_synthetic and item.row.label != AUTHENTIC for item in items)
    called = sum(item.called_synthetic for item in items)
    synthetic = sum(item.row.label != AUTHENTIC for item in items)
    return 2 * hits / max(1, called + synthetic)


def _called(items: Sequence[Scored]) -> tuple[str, float, int]:
    return "called synthetic", sum(item.called_synthetic for item in items) / len(items), len(items)


def main() -> None:
    """Parse the arguments, evaluate, write the report and, if asked, the published weights."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.evaluate", description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table here as well")
    parser.add_argument("--publish", type=Path, metavar="FILE", help="write float16 demo weights here")
    arguments = parser.parse_args()
    model, info = load_weights(arguments.weights)
    if arguments.publish:
        model = model.half().float()
    figures = evaluate(model, info, arguments.data)
    if arguments.publish:
        publish(arguments.publish, model, info, figures)
    table = figures.markdown()
    if arguments.report:
        arguments.report.write_text(table, encoding="utf-8")
    print(table, end="")


if __name__ == "__main__":
    main()
