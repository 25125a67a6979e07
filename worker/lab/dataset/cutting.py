"""Cutting the patches of many images into one file, by many processes.

Each image has its own place in the file, so that processes need not agree on anything; the gaps that images with few
patches leave are closed in the end. The file is written, not mapped: a full disk then is an error and not a signal.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.detector.tiles import Grid, cut
from worker.lab.dataset.decoding import pixels
from worker.lab.dataset.entry import Entry
from worker.lab.dataset.geometry import Geometry, highest_contrast_patches
from worker.lab.dataset.parallel import parallel_map


def cut_all(
    entries: Sequence[Entry], geometry: Geometry, file: Path, processes: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Write the patches of all `entries`, in order, to `file`: uint8 [N, patch, patch, 3] and nothing else.

    Returns how many each image has, int64 [entries], and their corners (x, y), int32 [N, 2]. Raises `SetupError`
    for the first image that cannot be decoded, and `OSError` when the file cannot be written.
    """
    file.touch()
    cut_one = partial(_cut_one, file, geometry)
    grids = list(parallel_map(cut_one, list(enumerate(entries)), "cutting patches", processes))
    counts = np.array([len(grid) for grid in grids], np.int64)
    _close_gaps(file, counts, geometry)
    return counts, np.concatenate([np.empty((0, 2), np.int32), *grids])


def _cut_one(file: Path, geometry: Geometry, numbered: tuple[int, Entry]) -> Grid:
    """Write one image's patches to their place in `file`; returns their corners."""
    number, entry = numbered
    image = pixels(entry)
    grid = highest_contrast_patches(image, geometry.patch, geometry.patches_per_image)
    if len(grid):
        with file.open("r+b") as target:
            target.seek(number * geometry.patches_per_image * geometry.patch_bytes)
            target.write(np.stack(cut(image, grid, size=geometry.patch)).data)
    return grid


def _close_gaps(file: Path, counts: NDArray[np.int64], geometry: Geometry) -> None:
    """Move the patches of each image up to those of the one before, and make sure that all lie on the disk."""
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
