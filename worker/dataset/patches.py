"""Training patches: the ones of highest contrast of each image, cut once and kept as uint8 on disk."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from worker.detector.contrast import highest, luma, tile_contrasts
from worker.detector.tiles import Grid, coverage_grid, cut
from worker.errors import ErrorCode, SetupError
from worker.training.recipe import Recipe

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Patches:
    """All patches of one split."""

    pixels: NDArray[np.uint8]
    """[N, patch, patch, 3], RGB; a memory map, so that it may be larger than memory."""
    labels: NDArray[np.int64]
    """[N] class index of each patch."""
    images: NDArray[np.int64]
    """[N] number of the image each patch was cut from."""
    pictures: NDArray[np.int64]
    """[N] number of the picture each patch shows, which several images may show; by the recipe's `picture`."""
    corners: NDArray[np.int32]
    """[N, 2] top-left corner (x, y) of each patch in its image, in pixels."""

    def __len__(self) -> int:
        return len(self.labels)


def highest_contrast_patches(image: NDArray[np.uint8], patch: int, count: int) -> Grid:
    """Corners (x, y), int32 [≤ count, 2], of the patches of highest contrast, highest first.

    `image`: uint8 [H, W, 3]. The patches lie side by side, the last row and column moved back to end at the edge:
    every pixel is covered with as little overlap as that needs. An image smaller than a patch has none.
    """
    height, width = image.shape[:2]
    grid = coverage_grid(width, height, stride=patch, size=patch)
    return grid[highest(tile_contrasts(luma(image), grid, size=patch), count)]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image file as uint8 [H, W, 3]. For trusted files: hostile ones go through `worker.intake`."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def load_patches(recipe: Recipe, split: str) -> Patches:
    """The patches of one split, from the cache in `recipe.out` or cut anew.

    The cache is named by what it was made of: the files with their sizes and times, the classes, the patch geometry.
    """
    files = [
        (path, label)
        for label, name in enumerate(recipe.classes)
        for path in sorted((recipe.data / name / split).glob("*"))
        if path.suffix.lower() in EXTENSIONS
    ]
    counts = Counter(label for _, label in files)
    for label, name in enumerate(recipe.classes):
        if not counts[label]:
            raise SetupError(ErrorCode.SETTINGS, f"`data` {recipe.data} has no image in {name}/{split}")
    stem = recipe.out / "patches" / f"{split}-{_fingerprint(recipe, files)}"
    pixels_file, index_file = stem.with_suffix(".npy"), stem.with_suffix(".npz")
    if not index_file.is_file():
        _cut_all(recipe, split, files, pixels_file, index_file)
    with np.load(index_file) as index:
        columns = {name: index[name] for name in ("labels", "images", "pictures", "corners")}
    # Images with fewer patches than the most leave rows at the end unused.
    return Patches(np.load(pixels_file, mmap_mode="r")[: len(columns["labels"])], **columns)


def _cut_all(
    recipe: Recipe, split: str, files: Sequence[tuple[Path, int]], pixels_file: Path, index_file: Path
) -> None:
    pixels_file.parent.mkdir(parents=True, exist_ok=True)
    most = len(files) * recipe.patches_per_image
    shape = (most, recipe.patch, recipe.patch, 3)
    pixels = np.lib.format.open_memmap(pixels_file, mode="w+", dtype=np.uint8, shape=shape)
    labels: list[int] = []
    images: list[int] = []
    pictures: list[int] = []
    corners: list[list[int]] = []
    numbers: dict[str, int] = {}
    for number, (path, label) in enumerate(track(files, f"cutting patches of {split}")):
        image = read_rgb(path)
        grid = highest_contrast_patches(image, recipe.patch, recipe.patches_per_image)
        match = re.search(recipe.picture, path.stem)
        picture = numbers.setdefault(match[0] if match and recipe.picture else str(path), len(numbers))
        for patch, corner in zip(cut(image, grid, size=recipe.patch), grid.tolist(), strict=True):
            pixels[len(labels)] = patch
            labels.append(label)
            images.append(number)
            pictures.append(picture)
            corners.append(corner)
    pixels.flush()
    # Written last: an index without its pixels would be taken for a finished cache.
    np.savez(
        index_file,
        labels=np.array(labels, np.int64),
        images=np.array(images, np.int64),
        pictures=np.array(pictures, np.int64),
        corners=np.array(corners, np.int32),
    )


def _fingerprint(recipe: Recipe, files: Sequence[tuple[Path, int]]) -> str:
    digest = hashlib.sha256(f"{recipe.patch} {recipe.patches_per_image} {recipe.classes} {recipe.picture}".encode())
    for path, label in files:
        status = path.stat()
        digest.update(f"{path.name} {label} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
