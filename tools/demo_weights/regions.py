"""How well the map finds the rebuilt region of a composite, as intersection over union of pixels."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from schema.scan import SelectionGrid, Tiling
from tools.demo_weights.build import Composite
from worker.detector.detector import Detector
from worker.intake.decode import decode
from worker.localization import heatmap, rasterize
from worker.pipeline.measure import complete, measure

STRIDE = 112
"""Of the tiles of a map, in pixels: a map cell is the mean of the tiles that cover it."""
THRESHOLD = 0.5
"""From this score on, a pixel counts as found."""


@dataclass(frozen=True)
class Overlap:
    """One composite and how well its region was found."""

    composite: Composite
    iou: float


def overlaps(data: Path, detector: Detector, *, max_pixels: int) -> Iterator[Overlap]:
    """Score every composite listed in `data`/composites.csv the way a worker with maps at `STRIDE` does."""
    tiling = Tiling(SelectionGrid.COVERAGE, STRIDE)
    for composite in track(read_composites(data / "composites.csv"), "mapping composites"):
        content = (data / composite.path).read_bytes()
        image = decode(content, max_pixels)
        digest = hashlib.sha256(content).hexdigest()
        scan = complete(measure(image, digest, tiling, detector), image, detector)
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
            Composite(row["path"], row["photograph"], row["network"], *(int(row[key]) for key in _BOX))
            for row in csv.DictReader(file)
        ]


_BOX = ("x", "y", "width", "height")
