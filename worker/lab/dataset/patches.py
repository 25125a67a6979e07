"""Training patches: those of highest contrast of each image, cut once and cached on disk as uint8.

A cache entry is a folder named by a digest of everything it was made from; it is complete or absent. Each image has its
own range in the file of pixels, so that many processes can write to it; the gaps left by images with few patches are
closed at the end. The file is written, not mapped: a full disk is then an error and not a signal.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock
from numpy.typing import NDArray

from worker.detector.contrast import highest, tile_contrasts
from worker.detector.tiles import Grid, coverage_grid, cut, stack
from worker.errors import ConfigurationError, ErrorCode, InputDataError
from worker.intake.decode import COPYING_BYTES
from worker.lab.dataset.entries import Entry
from worker.lab.dataset.parallel import memory_of_process, parallel_map

CACHE_VERSION = 1
"""Of decoding, selection, cutting and storage: raised with every change that makes other patches or other files."""


@dataclass(frozen=True)
class Geometry:
    """How patches are chosen; the defaults are the model card's."""

    patch: int = 240
    """Side of a patch, in pixels."""
    patches_per_image: int = 5
    """How many patches of highest contrast are kept per image."""

    @property
    def patch_bytes(self) -> int:
        """Bytes of one patch, uint8 RGB."""
        return self.patch * self.patch * 3


def highest_contrast_patches(image: NDArray[np.uint8], geometry: Geometry) -> Grid:
    """Corners (x, y), int32 [≤ patches_per_image, 2], of the patches of highest contrast, highest first.

    `image`: uint8 [H, W, 3]. The patches cover the image side by side, the last row and column moved back to end at
    the edge. An image smaller than a patch has none.
    """
    height, width = image.shape[:2]
    grid = coverage_grid(width, height, stride=geometry.patch, size=geometry.patch)
    return grid[highest(tile_contrasts(image, grid, size=geometry.patch), geometry.patches_per_image)]


@dataclass(frozen=True, eq=False)
class Patches:
    """N patches of a sequence of images: image by image, each image's patch of highest contrast first."""

    pixels: NDArray[np.uint8]
    """[N, patch, patch, 3], RGB; a memory map, so that it may be larger than memory."""
    labels: NDArray[np.int64]
    """[N] class index of each patch."""
    images: NDArray[np.int64]
    """[N] index, among the entries, of the image each patch was cut from."""
    pictures: NDArray[np.int64]
    """[N] number of the picture each patch shows; several images may show the same picture."""
    corners: NDArray[np.int32]
    """[N, 2] top-left corner (x, y) of each patch in its image, in pixels."""
    left_out: int = 0
    """How many images have a side smaller than a patch, and therefore no patch."""

    def __len__(self) -> int:
        return len(self.labels)


def cut_patches(
    entries: Sequence[Entry],
    classes: Sequence[str],
    geometry: Geometry,
    cache: Path,
    *,
    max_pixels: int,
    processes: int | None = None,
    memory: int | None = None,
) -> Patches:
    """The patches of `entries`, from the folder `cache`, or cut and put there; labels are indices into `classes`.

    The images in flight take `memory` bytes at once, by default half of the machine's.

    The result does not depend on the number of `processes` (by default one per core). Several processes may request
    the same patches at once: one cuts, the others wait for it.

    Raises `SetupError`: `data_invalid` for an image that cannot be read or has more than `max_pixels` pixels, a label
    that is not among the classes, or a class without a patch; `disk_full` when the cache cannot be written whole.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    for entry in entries:
        if entry.label not in numbers:
            raise InputDataError(
                ErrorCode.DATA_INVALID,
                f"{entry.name} is of class {entry.label}, which is not among {', '.join(classes)}; "
                "add the class or remove the image",
            )
    labels = np.array([numbers[entry.label] for entry in entries], np.int64)
    _require_each(classes, labels, "has no image; add some or remove the class")
    cached = _cached(entries, classes, geometry, cache, max_pixels, processes, memory)
    too_small = f"has no image of at least {geometry.patch} × {geometry.patch} pixels; add some or remove the class"
    _require_each(classes, labels[cached.counts > 0], too_small)
    images = np.repeat(np.arange(len(entries), dtype=np.int64), cached.counts)
    seen: dict[str, int] = {}
    pictures = np.array([seen.setdefault(entry.picture, len(seen)) for entry in entries], np.int64)
    left_out = int((cached.counts == 0).sum())
    return Patches(cached.pixels, labels[images], images, pictures[images], cached.corners, left_out)


def _require_each(classes: Sequence[str], labels: NDArray[np.int64], otherwise: str) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if missing:
        raise InputDataError(ErrorCode.DATA_INVALID, f"class {', '.join(missing)} {otherwise}")


@dataclass(frozen=True, eq=False)
class _CacheEntry:
    """The patches of a sequence of images, as they are stored."""

    pixels: NDArray[np.uint8]
    """[N, patch, patch, 3], RGB; a memory map."""
    counts: NDArray[np.int64]
    """[images] how many patches each image has, 0 where it is too small."""
    corners: NDArray[np.int32]
    """[N, 2]."""


def _cached(
    entries: Sequence[Entry],
    classes: Sequence[str],
    geometry: Geometry,
    cache: Path,
    max_pixels: int,
    processes: int | None,
    memory: int | None,
) -> _CacheEntry:
    """The patches of `entries` from `cache`, after cutting them if they are not there."""
    folder = cache / _key(entries, classes, geometry)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):  # released by the operating system when its holder is killed
            found = _load(folder, geometry)
            if found is None:
                _fill(folder, entries, geometry, max_pixels, processes, memory)
                found = _load(folder, geometry)
    except OSError as error:
        raise ConfigurationError(
            ErrorCode.DISK_FULL,
            f"the patches cannot be written to {cache} ({error.strerror}); {len(entries)} images need up to "
            f"{len(entries) * geometry.patches_per_image * geometry.patch_bytes / 1e9:.1f} GB there: free some space "
            "or name another folder",
        ) from error
    if found is None:
        raise ConfigurationError(
            ErrorCode.DISK_FULL, f"the patches written to {folder} could not be read back whole; try again"
        )
    return found


def _key(entries: Sequence[Entry], classes: Sequence[str], geometry: Geometry) -> str:
    made_from = [CACHE_VERSION, PIL.__version__, asdict(geometry), list(classes)]
    digest = hashlib.sha256(json.dumps(made_from).encode())
    for entry in entries:
        row = [entry.name, entry.label, entry.picture, entry.source.fingerprint()]
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()[:16]


def _load(folder: Path, geometry: Geometry) -> _CacheEntry | None:
    """The cache entry in `folder`; None when it is absent or incomplete."""
    if not _index_file(folder).is_file():
        return None
    with np.load(_index_file(folder)) as index:
        counts, corners = index["counts"], index["corners"]
    shape = (len(corners), geometry.patch, geometry.patch, 3)
    if _pixels_file(folder).stat().st_size != len(corners) * geometry.patch_bytes:
        return None
    if not len(corners):
        return _CacheEntry(np.empty(shape, np.uint8), counts, corners)  # an empty file cannot be mapped
    return _CacheEntry(np.memmap(_pixels_file(folder), np.uint8, mode="r", shape=shape), counts, corners)


def _fill(
    folder: Path,
    entries: Sequence[Entry],
    geometry: Geometry,
    max_pixels: int,
    processes: int | None,
    memory: int | None,
) -> None:
    """Cut the patches into `folder`, which appears under its name when it is complete."""
    incomplete = folder.with_suffix(".partial")
    shutil.rmtree(incomplete, ignore_errors=True)  # left by a process that was killed: its lock is free
    shutil.rmtree(folder, ignore_errors=True)
    incomplete.mkdir()
    try:
        pixels = _pixels_file(incomplete)
        pixels.touch()
        cut_one = partial(_cut_one, pixels, geometry, max_pixels)
        grids = list(parallel_map(cut_one, list(enumerate(entries)), "cutting patches", processes, memory=memory))
        counts = np.array([len(grid) for grid in grids], np.int64)
        _close_gaps(pixels, counts, geometry)
        corners = np.concatenate([np.empty((0, 2), np.int32), *grids])
        np.savez(_index_file(incomplete), counts=counts, corners=corners)
        incomplete.rename(folder)
    except BaseException:
        shutil.rmtree(incomplete, ignore_errors=True)
        raise


def _cut_one(file: Path, geometry: Geometry, max_pixels: int, numbered: tuple[int, Entry]) -> Grid:
    """Write one image's patches to its range of `file`; returns their corners."""
    number, entry = numbered

    def write(image: NDArray[np.uint8]) -> Grid:
        grid = highest_contrast_patches(image, geometry)
        if len(grid):
            with file.open("r+b") as target:
                target.seek(number * geometry.patches_per_image * geometry.patch_bytes)
                target.write(stack(cut(image, grid, size=geometry.patch)).data)
        return grid

    return entry.with_pixels(max_pixels, write, memory_of_process(), using_bytes=COPYING_BYTES)


def _close_gaps(file: Path, counts: NDArray[np.int64], geometry: Geometry) -> None:
    """Move each image's patches to the end of those before, and write everything to the disk."""
    end = 0
    with file.open("r+b") as target:
        for number, count in enumerate(counts.tolist()):
            start, length = number * geometry.patches_per_image * geometry.patch_bytes, count * geometry.patch_bytes
            if length and start != end:
                target.seek(start)
                patches = target.read(length)
                target.seek(end)
                target.write(patches)
            end += length
        target.truncate(end)
        os.fsync(target.fileno())


def _pixels_file(folder: Path) -> Path:
    return folder / "pixels.u8"


def _index_file(folder: Path) -> Path:
    return folder / "index.npz"
