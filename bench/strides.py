"""How well maps of different strides find the rebuilt part of a photograph, and what they cost.

    make demo-weights SHORT=1   # or any folder that `python -m tools.demo_weights data` made
    python -m bench.strides DATA [--weights demo] [--keep FOLDER]

DATA has `composites.csv`: photographs with one rectangle that a network rebuilt. Each is scored once at a stride of 56,
whose tiles contain those of 112 and 224. `--keep` stores the scans, so that a measurement can be resumed. The tables of
docs/localization.md are the output.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from schema.scan import Scan, Tiling
from schema.verdict import Region
from tools.demo_weights.build import Composite
from tools.demo_weights.finish import read_composites
from worker.detector.detector import Detector
from worker.intake.decode import decode
from worker.localization.heatmap import Heatmap, heatmap
from worker.localization.overlaps import Box, overlap, region_overlap
from worker.localization.regions import find_regions
from worker.pipeline.measure import complete, lay_tiles, measure
from worker.policy.policy import default_policy
from worker.settings import Settings

STRIDES = (224, 112, 56)
MAX_PIXELS = 100_000_000
RESAMPLES = 10_000


@dataclass(frozen=True)
class Measured:
    """How a map of one composite compares with its region."""

    tiles: int
    auc: float
    """Of the map's pixels: the probability that one inside the region scores higher than one outside."""
    map_iou: float
    """Of the pixels at 0.5 or above."""
    outline_iou: float
    """Of everything inside the outlines of the verdict's regions."""
    rectangle_iou: float
    """Of the rectangle around the first region."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="demo")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    found: dict[int, list[Measured]] = {stride: [] for stride in STRIDES}
    seconds = tiles = 0.0
    for composite, scan, spent in scans(options.data, options.weights, options.keep):
        for stride in STRIDES:
            found[stride].append(judge(at_stride(scan, stride), composite.box))
        seconds, tiles = seconds + spent, tiles + len(scan.corners) * bool(spent)
    report(found, seconds / tiles if tiles else None)


def scans(data: Path, weights: str, keep: Path | None) -> Iterator[tuple[Composite, Scan, float]]:
    """Each composite with its scan at the finest stride, and the seconds of CPU that it took; 0 if it was kept."""
    settings = Settings(weights=weights, device="cpu", precision="float32", threads=1)
    with Detector(settings) as detector:
        for composite in read_composites(data / "composites.csv"):
            kept = None if keep is None else keep / f"{Path(composite.path).name}.pickle"
            if kept is not None and kept.exists():
                yield composite, pickle.loads(kept.read_bytes()), 0.0
                continue
            content = (data / composite.path).read_bytes()
            image = decode(content, MAX_PIXELS)
            began = time.process_time()
            started = measure(image, hashlib.sha256(content).hexdigest(), Tiling(stride=min(STRIDES)), detector)
            scan = complete(started, image, detector, max_tiles=len(started.corners))
            spent = time.process_time() - began
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(pickle.dumps(scan))
            yield composite, scan, spent


def at_stride(scan: Scan, stride: int) -> Scan:
    """The part of a scan at the finest stride that a coarser one has."""
    corners, _ = lay_tiles(scan.width, scan.height, Tiling(stride=stride))
    wanted = {tuple(corner) for corner in corners.tolist()}
    kept = np.array([tuple(corner) in wanted for corner in scan.corners.tolist()])
    assert kept.sum() == len(corners)
    arrays = {
        name: getattr(scan, name)[kept] for name in ("corners", "contrast", "selected", "scored", "probabilities")
    }
    return replace(scan, tiling=Tiling(stride=stride), **arrays)


def judge(scan: Scan, box: Box) -> Measured:
    """Compare the map of a scan with the rectangle that was rebuilt."""
    heat = heatmap(scan)
    policy = default_policy()
    regions = find_regions(heat, policy.region_at, policy.generator_share)
    return Measured(
        tiles=len(scan.corners),
        auc=pixel_auc(heat, box),
        map_iou=overlap(heat, box, 0.5),
        outline_iou=outline_overlap(heat, regions, box),
        rectangle_iou=region_overlap(regions, box),
    )


def pixel_auc(heat: Heatmap, box: Box) -> float:
    """The area under the ROC curve of the map's pixels, exactly: each cell counts by its pixels in and out of `box`."""
    x, y, width, height = box
    inside = np.outer(_covered(heat.y_edges, y, y + height), _covered(heat.x_edges, x, x + width)).ravel()
    outside = np.outer(np.diff(heat.y_edges), np.diff(heat.x_edges)).ravel() - inside
    labels = np.repeat([1, 0], len(inside))
    return float(roc_auc_score(labels, np.tile(heat.scores.ravel(), 2), sample_weight=np.append(inside, outside)))


def outline_overlap(heat: Heatmap, regions: tuple[Region, ...], box: Box) -> float:
    """Intersection over union of `box` and everything inside the outlines of `regions`."""
    found = np.zeros((heat.height, heat.width), np.bool_)
    for ring in (ring for region in regions for ring in region.polygon or ()):
        for (x0, y0), (x1, y1) in pairwise(ring):
            if x0 == x1:  # everything right of a vertical edge changes sides
                found[min(y0, y1) : max(y0, y1), x0:] ^= True
    x, y, width, height = box
    true = np.zeros_like(found)
    true[y : y + height, x : x + width] = True
    return float((found & true).sum() / (found | true).sum())


def _covered(edges: NDArray[np.int32], start: int, end: int) -> NDArray[np.int64]:
    """How many pixels of each cell lie between `start` and `end`."""
    return np.maximum(0, np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)).astype(np.int64)


def report(found: dict[int, list[Measured]], seconds: float | None) -> None:
    """Print the figures of each stride, and what a finer one gains over the coarsest, image by image."""
    random = np.random.default_rng(1)
    names = ("auc", "map_iou", "outline_iou", "rectangle_iou")
    values = {stride: np.array([[getattr(one, name) for name in names] for one in found[stride]]) for stride in found}
    count = len(values[STRIDES[0]])
    picks = random.integers(0, count, (RESAMPLES, count))

    def mean(of: NDArray[np.float64]) -> str:
        low, high = np.quantile(of[picks].mean(axis=1), (0.025, 0.975))
        return f"{of.mean():.3f} ({low:.3f}–{high:.3f})"

    print(f"{count} composites; means, and 95 % intervals by {RESAMPLES} bootstrap resamples of the images.\n")
    print(
        "| stride | tiles per image | pixel AUC | IoU of the map at 0.5 | IoU of the outlines | IoU of the rectangle |"
    )
    print("|---|---|---|---|---|---|")
    for stride in STRIDES:
        tiles = np.mean([one.tiles for one in found[stride]])
        print(f"| {stride} | {tiles:.0f} | " + " | ".join(map(mean, values[stride].T)) + " |")
    for stride in STRIDES[1:]:
        gains = (values[stride] - values[STRIDES[0]]).T
        print(f"| {stride} − {STRIDES[0]} | | " + " | ".join(map(mean, gains)) + " |")
    if seconds is not None:
        print(f"\n{1000 * seconds:.0f} ms of one CPU thread per tile, selection included.")


if __name__ == "__main__":
    main()
