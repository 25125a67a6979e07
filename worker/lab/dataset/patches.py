"""Training patches: the ones of highest contrast of each image, cut once and kept as uint8 on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.errors import ErrorCode, InputDataError
from worker.lab.dataset.entry import Entry
from worker.lab.dataset.geometry import Geometry
from worker.lab.dataset.patch_cache import cached

__all__ = ["Geometry", "Patches", "cut_patches"]


@dataclass(frozen=True, eq=False)
class Patches:
    """The patches of a sequence of images: image by image, each image's patch of highest contrast first."""

    pixels: NDArray[np.uint8]
    """[N, patch, patch, 3], RGB; a memory map, so that it may be larger than memory."""
    labels: NDArray[np.int64]
    """[N] class index of each patch."""
    images: NDArray[np.int64]
    """[N] number of the image each patch was cut from: its place among the entries."""
    pictures: NDArray[np.int64]
    """[N] number of the picture each patch shows, which several images may show."""
    corners: NDArray[np.int32]
    """[N, 2] top-left corner (x, y) of each patch in its image, in pixels."""
    left_out: int = 0
    """How many images are smaller than a patch on a side, and so have none."""

    def __len__(self) -> int:
        return len(self.labels)


def cut_patches(
    entries: Sequence[Entry], classes: Sequence[str], geometry: Geometry, cache: Path, processes: int | None = None
) -> Patches:
    """The patches of `entries`, from the folder `cache` or cut anew; labels are places in `classes`.

    What comes out does not depend on the number of `processes` (all cores, unless given). Several processes may ask
    for the same patches at once: one cuts, the others wait for it.

    Raises `SetupError`: `data_invalid` for an image that cannot be read, a label that is none of the classes, or a
    class of which nothing is left; `disk_full` when the cache could not be written whole.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    for entry in entries:
        if entry.label not in numbers:
            raise InputDataError(
                ErrorCode.DATA_INVALID,
                f"{entry.name} is of class {entry.label}, which is none of {', '.join(classes)}; "
                "add the class or remove the image",
            )
    labels = np.array([numbers[entry.label] for entry in entries], np.int64)
    _need_each(classes, labels, "has no image; add some or remove the class")
    cut = cached(entries, classes, geometry, cache, processes)
    too_small = f"has no image of at least {geometry.patch} × {geometry.patch} pixels; add some or remove the class"
    _need_each(classes, labels[cut.counts > 0], too_small)
    images = np.repeat(np.arange(len(entries), dtype=np.int64), cut.counts)
    seen: dict[str, int] = {}
    pictures = np.array([seen.setdefault(entry.picture, len(seen)) for entry in entries], np.int64)
    left_out = int((cut.counts == 0).sum())
    return Patches(cut.pixels, labels[images], images, pictures[images], cut.corners, left_out)


def _need_each(classes: Sequence[str], labels: NDArray[np.int64], otherwise: str) -> None:
    missing = [
        name for name, count in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True) if not count
    ]
    if missing:
        raise InputDataError(ErrorCode.DATA_INVALID, f"class {', '.join(missing)} {otherwise}")
