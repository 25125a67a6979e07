"""Build the data set of the demo weights: photographs, and the same photographs rebuilt by neural networks.

Everything that could reveal a class other than the network's traces is drawn alike for all classes: content (each crop
occurs in every class), earlier resizing (which removes the old JPEG history), and the final encoding.

Layout: `<out>/<class>/<split>/<photograph>-<n>[-<treatment>].<ext>`, with a manifest `<out>/manifest.csv`, one row per
file. Besides the classes, the test split has `held-out-<network>`, images of networks that are not trained on.
Authentic pictures with one rebuilt region are in `<out>/composites`, listed in `<out>/composites.csv`.
"""

from __future__ import annotations

import csv
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from tools.demo_weights.networks import HELD_OUT, SHRINK, SHRINK_FILTERS, TRAINED, Enlarger, pick, rebuild
from tools.demo_weights.photographs import PHOTOGRAPHS, Photograph
from worker.lab.dataset.parallel import parallel_map

AUTHENTIC = "authentic"
HELD_OUT_PREFIX = "held-out-"
SIDE = 480
"""Sides of a crop, in pixels: four patches of 240. Smaller photographs give smaller crops."""
SMALLEST_SIDE = 240
FACTOR = (0.5, 0.9)
"""The factors by which a photograph is resized first."""
ENLARGE_FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR)
LARGE = 1_500_000
"""Pixels; a photograph of at least this size is large and gives more crops."""
TRIES = 4
"""Of so many random positions, the one of highest contrast is cropped: nothing is learned from flat sky."""
COMPOSITE = (1600, 1200)
REGION = (452, 672)
"""Sides of a rebuilt region in a composite."""


@dataclass(frozen=True)
class Plan:
    """How much to make. The defaults give the data set of the demo weights."""

    seed: int = 2409
    crops_large: int = 8
    crops_held_out: int = 4
    """Crops of a large photograph that is not trained on."""
    crops_small: int = 3
    composites: int = 3


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


@dataclass(frozen=True)
class Context:
    """The output folder, the plan and the loaded networks of one process."""

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
        raise FileNotFoundError(f"not in any of the given folders: {names}")
    jobs = [(photograph, file) for photograph, file in files.items() if file is not None]
    made = list(parallel_map(partial(_make, out, plan), jobs, "rebuilding photographs", processes, worth_a_process=1))
    _write_table(out / "composites.csv", Composite, [line for _, composites in made for line in composites])
    manifest = out / "manifest.csv"
    _write_table(manifest, Row, [row for rows, _ in made for row in rows])
    return manifest


def _make(out: Path, plan: Plan, job: tuple[Photograph, Path]) -> tuple[list[Row], list[Composite]]:
    photograph, file = job
    context = _context(out, plan)
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    return list(_images(context, photograph, picture, file)), list(_composites(context, photograph, picture))


@cache
def _context(out: Path, plan: Plan) -> Context:
    """Of this process: loaded networks cannot be sent. One thread each: photographs are split among processes."""
    return Context(out, plan, {network.name: Enlarger(network, threads=1) for network in (*TRAINED, *HELD_OUT)})


def _images(context: Context, photograph: Photograph, picture: Image.Image, file: Path) -> Iterator[Row]:
    large = picture.width * picture.height >= LARGE
    many = context.plan.crops_large if photograph.split == "train" else context.plan.crops_held_out
    for n in range(many if large else context.plan.crops_small):
        yield from _images_of_crop(context, photograph, picture, n)
    if photograph.split != "train" and large:
        path = _prepared(context.out / AUTHENTIC / photograph.split / f"{photograph.name}{file.suffix}")
        shutil.copyfile(file, path)
        relative = str(path.relative_to(context.out))
        yield Row(relative, AUTHENTIC, photograph.split, "authentic photograph", photograph.name, "as found")


def _images_of_crop(context: Context, photograph: Photograph, picture: Image.Image, n: int) -> Iterator[Row]:
    random = _random(context.plan, photograph, n, "crop")
    write = partial(_write, context, photograph, n)
    crop = _crop(picture, random.uniform(*FACTOR), random)
    yield write(crop, label=AUTHENTIC, treatment="resized")
    yield write(_crop(picture, 1.0, random), label=AUTHENTIC, treatment="native")
    yield write(_rescale(crop, random), label=AUTHENTIC, treatment="rescaled")
    yield write(_blur_or_sharpen(crop, random), label=AUTHENTIC, treatment="filtered")
    for network in TRAINED:
        yield write(rebuild(crop, context.enlargers[network.name], random), label=network.name)
    if photograph.split == "test":
        for network in HELD_OUT:
            image = rebuild(crop, context.enlargers[network.name], random)
            yield write(image, label=HELD_OUT_PREFIX + network.name)


def _composites(context: Context, photograph: Photograph, picture: Image.Image) -> Iterator[Composite]:
    if photograph.split == "test" and picture.width * picture.height >= LARGE:
        for n in range(context.plan.composites):
            yield _composite(context, photograph, picture, n)


def _composite(context: Context, photograph: Photograph, picture: Image.Image, n: int) -> Composite:
    random = _random(context.plan, photograph, n, "composite")
    factor = max(random.uniform(*FACTOR), 1000 / min(picture.size))
    whole = _resized(picture, min(1.0, factor))
    width, height = (min(a, b) for a, b in zip(COMPOSITE, whole.size, strict=True))
    whole = whole.crop(_place(whole, width, height, random))
    network = TRAINED[int(random.integers(len(TRAINED)))]
    w, h = (int(random.integers(REGION[0] // SHRINK, REGION[1] // SHRINK + 1)) * SHRINK for _ in range(2))
    box = _place(whole, w, h, random)
    x, y = box[:2]
    whole.paste(rebuild(whole.crop(box), context.enlargers[network.name], random), (x, y))
    stem = _prepared(context.out / "composites" / f"{photograph.name}-{n:02}-{network.name}")
    path = draw_encoding(random).save(whole, stem)
    return Composite(str(path.relative_to(context.out)), photograph.name, network.name, x, y, w, h)


def _write(
    context: Context, photograph: Photograph, n: int, image: Image.Image, *, label: str, treatment: str = ""
) -> Row:
    encoding = draw_encoding(_random(context.plan, photograph, n, label + treatment))
    picture = f"{photograph.name}-{n:02}"
    stem = _prepared(context.out / label / photograph.split / "-".join(filter(None, (picture, treatment))))
    path = encoding.save(image, stem)
    dataset = " ".join(filter(None, (label, treatment)))
    return Row(str(path.relative_to(context.out)), label, photograph.split, dataset, picture, encoding.label)


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
    """A crop of the picture resized by `factor`, or by less if the photograph is too small for that."""
    factor = min(1.0, max(factor, SMALLEST_SIDE / min(picture.size)))
    resized = _resized(picture, factor)
    width, height = (min(SIDE, side) // SHRINK * SHRINK for side in resized.size)
    return resized.crop(_place(resized, width, height, random))


def _resized(picture: Image.Image, factor: float) -> Image.Image:
    size = (round(picture.width * factor), round(picture.height * factor))
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


def _random(plan: Plan, photograph: Photograph, n: int, purpose: str) -> np.random.Generator:
    # One generator per image, so that the data set does not depend on the order in which it is made.
    return np.random.default_rng([plan.seed, zlib.crc32(photograph.name.encode()), n, zlib.crc32(purpose.encode())])


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
