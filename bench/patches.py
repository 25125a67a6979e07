"""The cost of cutting training patches beside that of decoding the images, extrapolated to SuSy's data set.

    python -m bench.patches [FOLDER] [--images 100] [--runs 7] [--processes 1] [--work FOLDER]

FOLDER contains photographs (JPEG, PNG); without it, scikit-image's are used. Crops of them are written in the formats
and sizes of SuSy's data set, and then, in turns: only decoded; decoded, cut, and the patches written to the disk
(flushed). Both use the same processes. The share is decoding's part of the total time; the goal is 90 %. On a busy
machine, read the processor time; the wall clock includes other programs and the wait for the disk.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from worker.lab.dataset.entries import Entry, FileSource
from worker.lab.dataset.parallel import parallel_map
from worker.lab.dataset.patches import Geometry, cut_patches
from worker.settings import load_settings

MAX_PIXELS = load_settings().max_pixels


@dataclass(frozen=True)
class Kind:
    """Images of one format and size, and their number in SuSy's data set.

    Formats and numbers: arXiv 2409.14128, supplement C, and the model card. The sizes are usual for the sources.
    """

    name: str
    format: str
    size: tuple[int, int]
    number: int


KINDS = (
    Kind("JPEG 640×480 (COCO)", "JPEG", (640, 480), 5435),
    Kind("JPEG 1024×1024 (DALL·E 3, Midjourney 5/6)", "JPEG", (1024, 1024), 1647 + 1226),
    Kind("PNG 512×512 (Stable Diffusion 1.x)", "PNG", (512, 512), 5435),
    Kind("PNG 1024×1024 (SDXL, Midjourney 1/2)", "PNG", (1024, 1024), 5435 + 4530),
)


def photographs(folder: Path | None) -> list[Image.Image]:
    if folder is None:
        return [Image.fromarray(getattr(skimage.data, name)()) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not files:
        raise SystemExit(f"{folder} has no .jpg or .png")
    step = max(1, len(files) // 40)
    return [Image.open(file).convert("RGB") for file in files[::step]]


def make(kind: Kind, sources: Sequence[Image.Image], count: int, folder: Path) -> list[Entry]:
    """Random crops of photographs that were scaled to at most 1.25 times the size, so that they show whole scenes."""
    random = np.random.default_rng(0)
    width, height = kind.size
    entries = []
    for number in range(count):
        photograph = sources[number % len(sources)]
        factor = float(random.uniform(1, 1.25)) * max(width / photograph.width, height / photograph.height)
        scaled = [max(least, round(factor * side)) for least, side in zip(kind.size, photograph.size, strict=True)]
        x, y = (int(random.integers(whole - part + 1)) for whole, part in zip(scaled, kind.size, strict=True))
        crop = photograph.resize((scaled[0], scaled[1]), Image.Resampling.LANCZOS).crop((x, y, x + width, y + height))
        file = folder / f"{number}.{kind.format.lower()}"
        crop.save(file, kind.format, **({"quality": 95} if kind.format == "JPEG" else {}))
        entries.append(Entry(file.name, "x", "train", "x", file.name, FileSource(file)))
    return entries


def decode(entry: Entry) -> int:
    return entry.pixels(MAX_PIXELS).shape[0]


def timed(work: Callable[[], object]) -> NDArray[np.float64]:
    """Seconds by the wall clock, and of processor time of this process and its children."""

    def now() -> NDArray[np.float64]:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return np.array([time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)])

    start = now()
    work()
    return now() - start


def measure(entries: Sequence[Entry], runs: int, processes: int, cache: Path) -> NDArray[np.float64]:
    """Seconds per image, float64 [runs, 2, 2]: for decoding and cutting, by wall clock and processor time."""

    def only_decode() -> None:
        for _ in parallel_map(decode, entries, "decoding", processes):
            pass

    seconds = []
    for _ in range(runs):
        only = timed(only_decode)
        both = timed(lambda: cut_patches(entries, ["x"], Geometry(), cache, max_pixels=MAX_PIXELS, processes=processes))
        shutil.rmtree(cache)
        seconds.append([only, both])
    return np.array(seconds) / len(entries)


def shown(values: NDArray[np.float64], form: str) -> str:
    return f"{np.median(values):{form}} ({values.min():{form}}–{values.max():{form}})"


def shares(seconds: NDArray[np.float64]) -> list[str]:
    """Decoding's share of cutting in percent, by wall clock and by processor time."""
    return [shown(share, ".0f") for share in (100 * seconds[:, 0] / seconds[:, 1]).T]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=100, help="images of each kind")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--work", type=Path, help="folder for images and patches")
    options = parser.parse_args()
    sources = photographs(options.folder)

    print(f"{options.images} images of each kind, {options.runs} runs, {options.processes} processes")
    print(
        "| images | kB each | decoding, ms of processor time | with cutting and writing | share, % | by wall clock, % |"
    )
    print("|---|---|---|---|---|---|")
    whole = np.zeros((options.runs, 2, 2))
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        for number, kind in enumerate(KINDS):
            folder = Path(work) / str(number)
            folder.mkdir()
            entries = make(kind, sources, options.images, folder)
            kilobytes = np.mean([len(entry.read()) for entry in entries]) / 1000  # also warms the page cache
            seconds = measure(entries, options.runs, options.processes, Path(work) / "cache")
            whole += kind.number * seconds
            decoding, cutting = (shown(1000 * seconds[:, what, 1], ".2f") for what in (0, 1))
            by_clock, by_processor = shares(seconds)
            print(
                f"| {kind.name} | {kilobytes:.0f} | {decoding} | {cutting} | {by_processor} | {by_clock} |", flush=True
            )
    decoding, cutting = (shown(whole[:, what, 1] / 60, ".1f") for what in (0, 1))
    by_clock, by_processor = shares(whole)
    number = sum(kind.number for kind in KINDS)
    print(f"| SuSy's {number}, extrapolated; minutes | | {decoding} | {cutting} | {by_processor} | {by_clock} |")


if __name__ == "__main__":
    main()
