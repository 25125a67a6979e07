"""Build the data set of the demo weights: photographs, and the same photographs rebuilt by neural networks.

What could give a class away without looking at the network's traces is drawn alike for all of them: content (each
crop occurs in every class), earlier resizing (which wipes the old JPEG history), and the final encoding.

Layout: `<out>/<class>/<split>/<photograph>-<n>[-<treatment>].<ext>`, and `<out>/manifest.csv` with one row a file.
Beside the classes: `held-out-<network>/test` (a network nobody trains on), `composites/test` (a rebuilt region
in an authentic picture) and `photographs/{val,test}` (held-out photographs, byte for byte).
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worker.training.manifest import (
    AUTHENTIC,
    COMPOSITES,
    HELD_OUT_PREFIX,
    PHOTOGRAPH,
    Row,
    append_rows,
    read_manifest,
)
from worker.training.rebuild.networks import HELD_OUT, NETWORKS, Enlarger, Network
from worker.training.rebuild.photographs import PHOTOGRAPHS, SPLITS, Photograph
from worker.training.rebuild.treatments import blur_or_sharpen, draw_encoding, rebuild, rescale

SIDE = (480, 656)
"""Shortest and longest side of a crop, in pixels; smaller photographs give smaller crops."""
SMALLEST_SIDE = 240
FACTOR = (0.5, 0.9)
"""By how much a photograph is resized before anything else."""
LARGE = 1_500_000
"""From this many pixels on, a photograph is large and gives more crops."""
TRIES = 4
"""Of so many random places, the one of most contrast is cropped: flat sky teaches nothing."""
HEAVY = "realesrgan-x4plus"
HEAVY_SIDE = 400
"""This network takes 20 µs a pixel. For training it rebuilds the middle, at most 400×400, of every second crop."""
COMPOSITE = (1600, 1200)
REGION = (452, 672)
"""Sides of a rebuilt region in a composite."""


@dataclass(frozen=True)
class Plan:
    """How much to make. The defaults made the demo weights' data set."""

    seed: int = 2409
    crops_large: int = 5
    crops_held_out: int = 4
    """Crops of a large photograph that is not trained on."""
    crops_small: int = 2
    composites: int = 3


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
) -> Path:
    """Write the data set under `out` and return its manifest. Photographs already in the manifest are skipped."""
    in_order = sorted(photographs, key=lambda photograph: SPLITS.index(photograph.split))
    files = {photograph: photograph.find(roots) for photograph in in_order}
    missing = [photograph for photograph, file in files.items() if file is None]
    if missing:
        names = ", ".join(f"{photograph.package}:{photograph.path}" for photograph in missing)
        raise FileNotFoundError(f"not under any of the folders given: {names}")
    manifest = out / "manifest.csv"
    done = {row.photograph for row in read_manifest(manifest)} if manifest.is_file() else set()
    shop = Workshop(out, plan, {network.name: Enlarger(network) for network in (*NETWORKS, HELD_OUT)})
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        overall = progress.add_task("photographs", total=len(photographs))
        images = progress.add_task("images", total=None)
        for photograph, file in files.items():
            if photograph.name not in done and file is not None:
                progress.update(overall, description=photograph.name)
                rows = []
                for row in _images_of(shop, photograph, file):
                    rows.append(row)
                    progress.advance(images)
                append_rows(manifest, rows)
            progress.advance(overall)
    return manifest


def _images_of(shop: Workshop, photograph: Photograph, file: Path) -> Iterator[Row]:
    out, plan = shop.out, shop.plan
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    large = picture.width * picture.height >= LARGE
    many = plan.crops_large if photograph.split == "train" else plan.crops_held_out
    for n in range(many if large else plan.crops_small):
        yield from _images_of_crop(shop, photograph, picture, n)
    if photograph.split != "train" and large:
        path = out / "photographs" / photograph.split / f"{photograph.name}{file.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, path)
        yield Row(str(path.relative_to(out)), AUTHENTIC, photograph.split, photograph.name, PHOTOGRAPH, "as found")
    if photograph.split == "test" and large:
        for n in range(plan.composites):
            yield _composite(shop, photograph, picture, n)


def _images_of_crop(shop: Workshop, photograph: Photograph, picture: Image.Image, n: int) -> Iterator[Row]:
    random = _random(shop.plan, photograph, n, "crop")
    write = partial(_write, shop, photograph, n)
    crop = _crop(picture, random.uniform(*FACTOR), random)
    native = _crop(picture, 1.0, random)
    made = {"": crop, "native": native, "rescaled": rescale(crop, random), "filtered": blur_or_sharpen(crop, random)}
    for treatment, image in made.items():
        if treatment != "filtered" or n % 2 == 0:
            yield write(image, label=AUTHENTIC, treatment=treatment)
    for network in NETWORKS:
        source = crop
        if network.name == HEAVY and photograph.split == "train":
            if n % 2:
                continue
            source = _middle(crop, HEAVY_SIDE)
        factor = _factor(network, random)
        image = rebuild(source, shop.enlargers[network.name], factor, random)
        yield write(image, label=network.name, treatment=f"x{factor}")
    if photograph.split == "test":
        image = rebuild(crop, shop.enlargers[HELD_OUT.name], HELD_OUT.scale, random)
        yield write(image, label=HELD_OUT_PREFIX + HELD_OUT.name, treatment=f"x{HELD_OUT.scale}")


def _composite(shop: Workshop, photograph: Photograph, picture: Image.Image, n: int) -> Row:
    random = _random(shop.plan, photograph, n, "composite")
    factor = max(random.uniform(*FACTOR), 1000 / min(picture.size))
    whole = _resized(picture, min(1.0, factor))
    width, height = (min(a, b) for a, b in zip(COMPOSITE, whole.size, strict=True))
    whole = whole.crop(_place(whole, width, height, random))
    network = NETWORKS[int(random.integers(len(NETWORKS)))]
    w, h = (int(random.integers(REGION[0] // 4, REGION[1] // 4 + 1)) * 4 for _ in range(2))
    box = _place(whole, w, h, random)
    rebuilt = rebuild(whole.crop(box), shop.enlargers[network.name], _factor(network, random), random)
    x, y = box[:2]
    whole.paste(rebuilt, (x, y))
    row = _write(shop, photograph, n, whole, label=COMPOSITES, treatment=network.name)
    return replace(row, region=f"{x} {y} {w} {h}")


def _write(shop: Workshop, photograph: Photograph, n: int, image: Image.Image, *, label: str, treatment: str) -> Row:
    encoding = draw_encoding(_random(shop.plan, photograph, n, label + treatment))
    name = "-".join(filter(None, (photograph.name, f"{n:02}", treatment)))
    stem = shop.out / label / photograph.split / name
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = encoding.save(image, stem)
    relative = str(path.relative_to(shop.out))
    return Row(relative, label, photograph.split, photograph.name, treatment, encoding.label)


def _crop(picture: Image.Image, factor: float, random: np.random.Generator) -> Image.Image:
    """A crop of the picture resized by `factor`; less resized where the photograph is too small for that."""
    factor = min(1.0, max(factor, SMALLEST_SIDE / min(picture.size)))
    resized = _resized(picture, factor)
    width, height = (min(int(random.integers(*SIDE)), side) // 4 * 4 for side in resized.size)
    return resized.crop(_place(resized, width, height, random))


def _middle(crop: Image.Image, side: int) -> Image.Image:
    width, height = min(crop.width, side), min(crop.height, side)
    left, top = (crop.width - width) // 2, (crop.height - height) // 2
    return crop.crop((left, top, left + width, top + height))


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


def _factor(network: Network, random: np.random.Generator) -> int:
    return 4 if network.scale == 4 or random.random() < 0.4 else 2


def _random(plan: Plan, photograph: Photograph, n: int, purpose: str) -> np.random.Generator:
    # A generator per image, so that the data set does not depend on the order it is made in.
    return np.random.default_rng([plan.seed, zlib.crc32(photograph.name.encode()), n, zlib.crc32(purpose.encode())])
