"""Build the data set of the demo weights: photographs, and the same photographs rebuilt by neural networks.

What could give a class away without looking at the network's traces is drawn alike for all of them: content (each
crop occurs in every class), earlier resizing (which wipes the old JPEG history), and the final encoding.

Layout: `<out>/<class>/<split>/<photograph>-<n>[-<treatment>].<ext>`, with `<out>/manifest.csv` as any data set has it,
one row a file. Beside the classes it lists, in the test split, `held-out-<network>` (networks nobody trains on).
Authentic pictures with one rebuilt region lie in `<out>/composites`, listed in `<out>/composites.csv`.
"""

from __future__ import annotations

import csv
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tools.demo_weights.networks import HELD_OUT, TRAINED, Enlarger
from tools.demo_weights.photographs import PHOTOGRAPHS, Photograph
from tools.demo_weights.treatments import SHRINK, blur_or_sharpen, draw_encoding, rebuild, rescale

AUTHENTIC = "authentic"
HELD_OUT_PREFIX = "held-out-"
SIDE = 480
"""Sides of a crop, in pixels: four patches of 240. Smaller photographs give smaller crops."""
SMALLEST_SIDE = 240
FACTOR = (0.5, 0.9)
"""By how much a photograph is resized before anything else."""
LARGE = 1_500_000
"""From this many pixels on, a photograph is large and gives more crops."""
TRIES = 4
"""Of so many random places, the one of most contrast is cropped: flat sky teaches nothing."""
COMPOSITE = (1600, 1200)
REGION = (452, 672)
"""Sides of a rebuilt region in a composite."""


@dataclass(frozen=True)
class Plan:
    """How much to make. The defaults make the demo weights' data set."""

    seed: int = 2409
    crops_large: int = 8
    crops_held_out: int = 4
    """Crops of a large photograph that is not trained on."""
    crops_small: int = 3
    composites: int = 3


@dataclass(frozen=True)
class Row:
    """One line of the manifest: an image, its class and split, and what it shows and went through."""

    path: str
    label: str
    split: str
    dataset: str
    picture: str
    encoding: str


@dataclass(frozen=True)
class Composite:
    """One line of `composites.csv`; the region is x, y, width, height in pixels."""

    path: str
    photograph: str
    network: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Workshop:
    """What making any image needs: where it goes, how much is planned, and the loaded networks."""

    out: Path
    plan: Plan
    enlargers: Mapping[str, Enlarger]


def build(
    roots: Sequence[Path],
    out: Path,
    plan: Plan = Plan(),
    photographs: Sequence[Photograph] = PHOTOGRAPHS,
    processes: int | None = None,
) -> Path:
    """Write the data set under `out` and return its manifest."""
    files = {photograph: photograph.find(roots) for photograph in photographs}
    missing = [photograph for photograph, file in files.items() if file is None]
    if missing:
        names = ", ".join(f"{photograph.package}:{photograph.path}" for photograph in missing)
        raise FileNotFoundError(f"not under any of the folders given: {names}")
    jobs = [(photograph, file) for photograph, file in files.items() if file is not None]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, TimeRemainingColumn()) as progress,
        ProcessPoolExecutor(processes or os.cpu_count()) as pool,
    ):
        task = progress.add_task("rebuilding photographs", total=len(jobs))
        made = []
        for one in pool.map(partial(_make, out, plan), jobs):
            made.append(one)
            progress.advance(task)
    _write_table(out / "composites.csv", Composite, [line for _, composites in made for line in composites])
    manifest = out / "manifest.csv"
    _write_table(manifest, Row, [row for rows, _ in made for row in rows])
    return manifest


def _make(out: Path, plan: Plan, job: tuple[Photograph, Path]) -> tuple[list[Row], list[Composite]]:
    photograph, file = job
    shop = _workshop(out, plan)
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    return list(_images(shop, photograph, picture, file)), list(_composites(shop, photograph, picture))


@cache
def _workshop(out: Path, plan: Plan) -> Workshop:
    """Of this process: loaded networks do not travel. One thread each, since photographs are shared among processes."""
    return Workshop(out, plan, {network.name: Enlarger(network, threads=1) for network in (*TRAINED, *HELD_OUT)})


def _images(shop: Workshop, photograph: Photograph, picture: Image.Image, file: Path) -> Iterator[Row]:
    large = picture.width * picture.height >= LARGE
    many = shop.plan.crops_large if photograph.split == "train" else shop.plan.crops_held_out
    for n in range(many if large else shop.plan.crops_small):
        yield from _images_of_crop(shop, photograph, picture, n)
    if photograph.split != "train" and large:
        path = _prepared(shop.out / AUTHENTIC / photograph.split / f"{photograph.name}{file.suffix}")
        shutil.copyfile(file, path)
        relative = str(path.relative_to(shop.out))
        yield Row(relative, AUTHENTIC, photograph.split, "authentic photograph", photograph.name, "as found")


def _images_of_crop(shop: Workshop, photograph: Photograph, picture: Image.Image, n: int) -> Iterator[Row]:
    random = _random(shop.plan, photograph, n, "crop")
    write = partial(_write, shop, photograph, n)
    crop = _crop(picture, random.uniform(*FACTOR), random)
    yield write(crop, label=AUTHENTIC, treatment="resized")
    yield write(_crop(picture, 1.0, random), label=AUTHENTIC, treatment="native")
    yield write(rescale(crop, random), label=AUTHENTIC, treatment="rescaled")
    yield write(blur_or_sharpen(crop, random), label=AUTHENTIC, treatment="filtered")
    for network in TRAINED:
        yield write(rebuild(crop, shop.enlargers[network.name], random), label=network.name)
    if photograph.split == "test":
        for network in HELD_OUT:
            image = rebuild(crop, shop.enlargers[network.name], random)
            yield write(image, label=HELD_OUT_PREFIX + network.name)


def _composites(shop: Workshop, photograph: Photograph, picture: Image.Image) -> Iterator[Composite]:
    if photograph.split == "test" and picture.width * picture.height >= LARGE:
        for n in range(shop.plan.composites):
            yield _composite(shop, photograph, picture, n)


def _composite(shop: Workshop, photograph: Photograph, picture: Image.Image, n: int) -> Composite:
    random = _random(shop.plan, photograph, n, "composite")
    factor = max(random.uniform(*FACTOR), 1000 / min(picture.size))
    whole = _resized(picture, min(1.0, factor))
    width, height = (min(a, b) for a, b in zip(COMPOSITE, whole.size, strict=True))
    whole = whole.crop(_place(whole, width, height, random))
    network = TRAINED[int(random.integers(len(TRAINED)))]
    w, h = (int(random.integers(REGION[0] // SHRINK, REGION[1] // SHRINK + 1)) * SHRINK for _ in range(2))
    box = _place(whole, w, h, random)
    x, y = box[:2]
    whole.paste(rebuild(whole.crop(box), shop.enlargers[network.name], random), (x, y))
    stem = _prepared(shop.out / "composites" / f"{photograph.name}-{n:02}-{network.name}")
    path = draw_encoding(random).save(whole, stem)
    return Composite(str(path.relative_to(shop.out)), photograph.name, network.name, x, y, w, h)


def _write(
    shop: Workshop, photograph: Photograph, n: int, image: Image.Image, *, label: str, treatment: str = ""
) -> Row:
    encoding = draw_encoding(_random(shop.plan, photograph, n, label + treatment))
    picture = f"{photograph.name}-{n:02}"
    stem = _prepared(shop.out / label / photograph.split / "-".join(filter(None, (picture, treatment))))
    path = encoding.save(image, stem)
    dataset = " ".join(filter(None, (label, treatment)))
    return Row(str(path.relative_to(shop.out)), label, photograph.split, dataset, picture, encoding.label)


def _prepared(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_table(path: Path, kind: type[Any], rows: Sequence[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [field.name for field in fields(kind)]
        writer.writerow("class" if name == "label" else name for name in names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)


def _crop(picture: Image.Image, factor: float, random: np.random.Generator) -> Image.Image:
    """A crop of the picture resized by `factor`; less resized where the photograph is too small for that."""
    factor = min(1.0, max(factor, SMALLEST_SIDE / min(picture.size)))
    resized = _resized(picture, factor)
    width, height = (min(SIDE, side) // SHRINK * SHRINK for side in resized.size)
    return resized.crop(_place(resized, width, height, random))


def _resized(picture: Image.Image, factor: float) -> Image.Image:
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.LANCZOS) if factor < 1 else picture.copy()


def _place(picture: Image.Image, width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Of `TRIES` random boxes (left, top, right, bottom) the one of most contrast."""
    boxes = []
    for _ in range(TRIES):
        x = int(random.integers(picture.width - width + 1))
        y = int(random.integers(picture.height - height + 1))
        boxes.append((x, y, x + width, y + height))
    return max(boxes, key=lambda box: _contrast(picture.crop(box)))


def _contrast(crop: Image.Image) -> float:
    gray = np.asarray(crop.convert("L"), np.float32)
    return float(np.square(gray[:, 5:] - gray[:, :-5]).mean())


def _random(plan: Plan, photograph: Photograph, n: int, purpose: str) -> np.random.Generator:
    # A generator per image, so that the data set does not depend on the order it is made in.
    return np.random.default_rng([plan.seed, zlib.crc32(photograph.name.encode()), n, zlib.crc32(purpose.encode())])
