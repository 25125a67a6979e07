"""What the signals of images say about photographs and drawings, as they are and altered, and what they cost.

    python -m bench.signals FOLDER… [--most 200]

Each folder is searched for photographs (JPEG) and drawings (PNG). docs/policies.md has the table.
"""

from __future__ import annotations

import argparse
import glob
import io
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from worker.errors import SusyError
from worker.intake.decode import Image, decode
from worker.pipeline.signals import measure_signals, palette_share, resampling

MAX_PIXELS = 50_000_000
SHORTEST = 500
"""Pixels of the shorter side of the images that are looked at."""
CROPPED = (1100, 800)
"""The part of an image that is resized, in pixels."""
FACTORS = (1.1, 1.3, 1.5, 2.0, 0.8, 0.5)
RESIZED, PALETTE = (10.0, 12.0, 15.0), (0.4, 0.5, 0.6)
"""Thresholds whose shares are printed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=200, help="images of each kind")
    options = parser.parse_args()
    period: dict[str, list[float]] = defaultdict(list)
    palette: dict[str, list[float]] = defaultdict(list)
    cost = []
    for image in _images(options.folders, ".jpg", options.most):
        began = time.thread_time()
        signals = measure_signals(image)
        cost.append(time.thread_time() - began)
        period["photographs"].append(signals.resampling or 0.0)
        palette["photographs"].append(signals.palette_share or 0.0)
        part = PIL.Image.fromarray(image.pixels).crop((0, 0, *map(min, image.pixels.shape[1::-1], CROPPED)))
        for quality in (50, 20):
            palette[f"photographs, quality {quality}"].append(palette_share(_saved(part, quality)))
        for factor in FACTORS:
            resized = part.resize((int(part.width * factor), int(part.height * factor)), PIL.Image.Resampling.BICUBIC)
            for quality in (None, 90, 75):
                name = f"× {factor:g}" + ("" if quality is None else f", quality {quality}")
                period[name].append(resampling(_saved(resized, quality)) or 0.0)
    for image in _images(options.folders, ".png", options.most):
        drawing = PIL.Image.fromarray(image.pixels)
        palette["drawings"].append(palette_share(image.pixels))
        palette["drawings, quality 75"].append(palette_share(_saved(drawing, 75)))
    _print("resampling", period, RESIZED)
    _print("palette_share", palette, PALETTE)
    print(f"\nCPU: median {1000 * statistics.median(cost):.2f} ms, largest {1000 * max(cost):.2f} ms")


def _images(folders: list[Path], suffix: str, most: int) -> Iterator[Image]:
    # Unlike `Path.rglob`, this follows links to folders.
    names = {name for folder in folders for name in glob.iglob(f"{folder}/**/*{suffix}", recursive=True)}  # noqa: PTH207
    paths = sorted(map(Path, names))
    random.Random(1).shuffle(paths)
    found = 0
    for path in paths:
        if found == most:
            return
        try:
            image = decode(path.read_bytes(), MAX_PIXELS)
        except (SusyError, OSError):
            continue
        if min(image.width, image.height) >= SHORTEST:
            found += 1
            yield image


def _saved(image: PIL.Image.Image, quality: int | None) -> NDArray[np.uint8]:
    """The pixels of the image after it was saved as a JPEG of this quality."""
    if quality is None:
        return np.asarray(image)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return np.asarray(PIL.Image.open(buffer).convert("RGB"))


def _print(what: str, measured: dict[str, list[float]], thresholds: tuple[float, ...]) -> None:
    print(f"\n{what:24} images  median     95 %  " + "  ".join(f"≥ {threshold:<6g}" for threshold in thresholds))
    for name, values in measured.items():
        shares = "  ".join(f"{100 * np.mean(np.array(values) >= at):6.1f} %" for at in thresholds)
        print(f"{name:24} {len(values):6}  {np.median(values):6.2f}  {np.quantile(values, 0.95):7.2f}  {shares}")


if __name__ == "__main__":
    main()
