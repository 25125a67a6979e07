"""Build the data set of the demo weights: photographs, and the same photographs rebuilt by neural networks.

Two stages. `cut_pieces` cuts small pieces of all photographs, which are easily moved to a machine that trains; `build`
makes the data set from the pieces. Everything that could reveal a class other than the network's traces is drawn alike
for all classes: content (each crop occurs in every class), earlier resizing (which removes the old JPEG history), and
the final encoding.

Layout: `<out>/<class>/<split>/<piece>-<n>[-<treatment>].<ext>`, with a manifest `<out>/manifest.csv`, one row per file.
Besides the classes, the test split has `held-out-<network>`, images of networks that are not trained on. Authentic
pictures with one rebuilt region are in `<out>/composites`, listed in `<out>/composites.csv`.
"""

from __future__ import annotations

import csv
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from tools.demo_weights.networks import (
    HELD_OUT,
    SHRINK,
    SHRINK_FILTERS,
    TRAINED,
    Generator,
    Network,
    Style,
    open_generator,
    pick,
    rebuild,
)
from tools.demo_weights.photographs import PHOTOGRAPHS, SPLITS, Photograph
from worker.errors import ErrorCode, InputDataError
from worker.lab.dataset.parallel import parallel_map

AUTHENTIC = "authentic"
HELD_OUT_PREFIX = "held-out-"
PIECE = {"train": (640, 640), "val": (640, 640), "test": (1600, 1200)}
"""Width and height of a piece, in pixels; a smaller photograph is a piece as a whole."""
PIECE_QUALITY = 92
CROP = {"train": (448, 448), "val": (448, 448), "test": (1024, 768)}
"""Width and height of a crop: two tiles of 224 a side to train on, and what people see to test on."""
SMALLEST_SIDE = 448
"""A photograph with a smaller side is left out: it has no crop to train on."""
FACTOR = (0.55, 0.9)
"""The factors by which a piece is resized first."""
ENLARGE_FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR)
TRIES = 4
"""Of so many random positions, the one of highest contrast is cropped: nothing is learned from flat sky."""
LARGE = 1_900_000
"""Pixels of a test piece from which composites are made."""
REGION = (452, 672)
"""Sides of a rebuilt region in a composite."""


@dataclass(frozen=True)
class Plan:
    """How much to make. The defaults give the data set of the demo weights."""

    seed: int = 2611
    pieces: int = 2
    """Pieces of a photograph that is trained on; others give one."""
    crops: int = 2
    """Crops of a piece that is trained on."""
    crops_val: int = 4
    """Crops of a piece to validate on; one to test on gives one."""
    composites: int = 1
    """Composites of a large test piece."""
    every: int = 1
    """Of so many pieces of a split, one is rebuilt."""


@dataclass(frozen=True)
class Row:
    """One line of the manifest: an image, its class and split, the picture it shows, and its encoding."""

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

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The region."""
        return self.x, self.y, self.width, self.height


def cut_pieces(
    roots: Sequence[Path],
    out: Path,
    plan: Plan = Plan(),
    photographs: Sequence[Photograph] = PHOTOGRAPHS,
    processes: int | None = None,
) -> list[Path]:
    """Write the pieces of all photographs as `<out>/<split>/<photograph>-<n>.jpg`, and return them."""
    files = {photograph: photograph.find(roots) for photograph in photographs}
    missing = [photograph for photograph, file in files.items() if file is None]
    if missing:
        names = ", ".join(f"{photograph.package}:{photograph.path}" for photograph in missing)
        raise InputDataError(ErrorCode.DATA_INVALID, f"not in any of the given folders: {names}")
    for split in SPLITS:
        (out / split).mkdir(parents=True, exist_ok=True)
    jobs = [(photograph, file) for photograph, file in files.items() if file is not None]
    cut = parallel_map(partial(_cut, out, plan), jobs, "cutting pieces", processes, worth_a_process=8)
    return [path for paths in cut for path in paths]


def _cut(out: Path, plan: Plan, job: tuple[Photograph, Path]) -> list[Path]:
    photograph, file = job
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    if min(picture.size) < SMALLEST_SIDE:
        return []
    return [
        _cut_one(out, plan, photograph, picture, n) for n in range(plan.pieces if photograph.split == "train" else 1)
    ]


def _cut_one(out: Path, plan: Plan, photograph: Photograph, picture: Image.Image, n: int) -> Path:
    """The first piece shows as much of the photograph as fits; others are cut at any size down to that."""
    random = _random(plan, photograph.name, n, "piece")
    width, height = PIECE[photograph.split]
    whole = min(1.0, max(width / picture.width, height / picture.height))
    factor = whole if n == 0 else random.uniform(whole, 1)
    resized = _resized(picture, factor)
    box = _place(resized, min(width, resized.width), min(height, resized.height), random)
    path = out / photograph.split / f"{photograph.name}-{n}.jpg"
    resized.crop(box).save(path, quality=PIECE_QUALITY)
    return path


def build(
    pieces: Path,
    out: Path,
    plan: Plan = Plan(),
    splits: Sequence[str] = SPLITS,
    processes: int | None = None,
) -> Path:
    """Write the data set of the `pieces` in `splits` under `out` and return its manifest."""
    jobs = [(split, path) for split in splits for path in sorted((pieces / split).glob("*.jpg"))[:: plan.every]]
    if not jobs:
        raise InputDataError(ErrorCode.DATA_INVALID, f"{pieces} has no pieces of {', '.join(splits)}; cut them first")
    made = list(parallel_map(partial(_make, out, plan), jobs, "rebuilding pieces", processes, worth_a_process=2))
    _write_table(out / "composites.csv", Composite, [line for _, composites in made for line in composites])
    manifest = out / "manifest.csv"
    _write_table(manifest, Row, [row for rows, _ in made for row in rows])
    return manifest


def _make(out: Path, plan: Plan, job: tuple[str, Path]) -> tuple[list[Row], list[Composite]]:
    split, file = job
    with Image.open(file) as opened:
        piece = opened.convert("RGB")
    crops = {"train": plan.crops, "val": plan.crops_val}.get(split, 1)
    rows = [row for n in range(crops) for row in _images_of_crop(out, plan, split, file.stem, piece, n)]
    large = split == "test" and piece.width * piece.height >= LARGE
    return rows, [_composite(out, plan, file.stem, piece, n) for n in range(plan.composites if large else 0)]


@cache
def _generator(network: Network | Style) -> Generator:
    """Of this process: loaded networks cannot be sent. One thread each: pieces are split among processes."""
    return open_generator(network, threads=1)


def _images_of_crop(out: Path, plan: Plan, split: str, piece: str, picture: Image.Image, n: int) -> Iterator[Row]:
    random = _random(plan, piece, n, "crop")
    write = partial(_write, out, plan, split, piece, n)
    smallest = max(side / of for side, of in zip(CROP["train"], picture.size, strict=True))
    crop = _crop(picture, max(random.uniform(*FACTOR), smallest), CROP[split], random)
    yield write(crop, label=AUTHENTIC, treatment="resized")
    yield write(_crop(picture, 1.0, CROP[split], random), label=AUTHENTIC, treatment="native")
    yield write(_rescale(crop, random), label=AUTHENTIC, treatment="rescaled")
    yield write(_blur_or_sharpen(crop, random), label=AUTHENTIC, treatment="filtered")
    for network in TRAINED:
        yield write(rebuild(crop, _generator(network), random), label=network.name)
    if split == "test":
        for held_out in HELD_OUT:
            image = rebuild(crop, _generator(held_out), random)
            yield write(image, label=HELD_OUT_PREFIX + held_out.name)


def _composite(out: Path, plan: Plan, piece: str, whole: Image.Image, n: int) -> Composite:
    random = _random(plan, piece, n, "composite")
    network = TRAINED[int(random.integers(len(TRAINED)))]
    w, h = (int(random.integers(REGION[0] // SHRINK, REGION[1] // SHRINK + 1)) * SHRINK for _ in range(2))
    box = _place(whole, w, h, random)
    x, y = box[:2]
    whole = whole.copy()
    whole.paste(rebuild(whole.crop(box), _generator(network), random), (x, y))
    stem = _prepared(out / "composites" / f"{piece}-{n:02}-{network.name}")
    path = draw_encoding(random).save(whole, stem)
    return Composite(str(path.relative_to(out)), piece.rpartition("-")[0], network.name, x, y, w, h)


def _write(
    out: Path, plan: Plan, split: str, piece: str, n: int, image: Image.Image, *, label: str, treatment: str = ""
) -> Row:
    encoding = draw_encoding(_random(plan, piece, n, label + treatment))
    stem = _prepared(out / label / split / "-".join(filter(None, (piece, f"{n:02}", treatment))))
    path = encoding.save(image, stem)
    dataset = " ".join(filter(None, (label, treatment)))
    # Crops of one photograph err together, so that the photograph is the picture they show.
    photograph = piece.rpartition("-")[0]
    return Row(str(path.relative_to(out)), label, split, dataset, photograph, encoding.label)


def _prepared(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_table(path: Path, kind: type[Any], rows: Sequence[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [field.name for field in fields(kind)]
        writer.writerow("class" if name == "label" else name for name in names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)


def _crop(picture: Image.Image, factor: float, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """A crop of at most `size` (width, height) of the picture resized by `factor`."""
    resized = _resized(picture, factor)
    width, height = (min(most, side) // SHRINK * SHRINK for most, side in zip(size, resized.size, strict=True))
    return resized.crop(_place(resized, width, height, random))


def _resized(picture: Image.Image, factor: float) -> Image.Image:
    size = (math.ceil(picture.width * factor), math.ceil(picture.height * factor))
    return picture.resize(size, Image.Resampling.LANCZOS) if factor < 1 else picture.copy()


def _place(picture: Image.Image, width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Of `TRIES` random boxes (left, top, right, bottom), the one of highest contrast."""
    boxes = []
    for _ in range(TRIES):
        x = int(random.integers(picture.width - width + 1))
        y = int(random.integers(picture.height - height + 1))
        boxes.append((x, y, x + width, y + height))
    return max(boxes, key=lambda box: _contrast(picture.crop(box)))


def _contrast(crop: Image.Image) -> float:
    gray = np.asarray(crop.convert("L"), np.float32)
    return float(np.square(gray[:, 5:] - gray[:, :-5]).mean())


def _random(plan: Plan, name: str, n: int, purpose: str) -> np.random.Generator:
    # One generator per image, so that the data set does not depend on the order in which it is made.
    return np.random.default_rng([plan.seed, zlib.crc32(name.encode()), n, zlib.crc32(purpose.encode())])


def _rescale(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    """Shrink by 1.3 to 4 and enlarge by interpolation, sometimes sharpened: an authentic hard negative."""
    factor = random.uniform(1.3, 4)
    small = crop.resize((round(crop.width / factor), round(crop.height / factor)), pick(SHRINK_FILTERS, random))
    large = small.resize(crop.size, pick(ENLARGE_FILTERS, random))
    return _sharpen(large, random) if random.random() < 0.3 else large


def _blur_or_sharpen(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    """A mild Gaussian blur or an unsharp mask: an authentic hard negative."""
    if random.random() < 0.5:
        return crop.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 1.4)))
    return _sharpen(crop, random)


def _sharpen(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    """Unsharp mask, radius 0.6 to 2 pixels, 50 to 180 percent."""
    mask = ImageFilter.UnsharpMask(random.uniform(0.6, 2), int(random.integers(50, 181)), threshold=0)
    return crop.filter(mask)


@dataclass(frozen=True)
class Encoding:
    """The last step of every image of every class, drawn from one distribution."""

    format: str
    quality: int = 0
    subsampling: str = ""

    @property
    def label(self) -> str:
        return " ".join(str(part) for part in (self.format, self.quality, self.subsampling) if part)

    def save(self, image: Image.Image, stem: Path) -> Path:
        """Write `image` to `stem` with the format's extension; the path."""
        path = stem.with_name(f"{stem.name}.{self.format}")
        match self.format:
            case "jpg":
                image.save(path, quality=self.quality, subsampling=self.subsampling)
            case "webp":
                image.save(path, quality=self.quality)
            case _:
                image.save(path)
        return path


def draw_encoding(random: np.random.Generator) -> Encoding:
    """PNG (20 %), JPEG quality 80–97 with 4:4:4 or 4:2:0 (55 %), WebP quality 85–95 (25 %)."""
    kind = random.random()
    if kind < 0.2:
        return Encoding("png")
    if kind < 0.75:
        return Encoding("jpg", int(random.integers(80, 98)), "4:4:4" if random.random() < 0.5 else "4:2:0")
    return Encoding("webp", int(random.integers(85, 96)))
