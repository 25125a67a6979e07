"""Cut patches on disk: a folder named by what they were made of, that is there whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from worker.errors import ConfigurationError, ErrorCode
from worker.lab.dataset.cutting import cut_all
from worker.lab.dataset.entry import Entry
from worker.lab.dataset.geometry import Geometry

VERSION = 1
"""Of decoding, choosing, cutting and storing: raised with every change that makes other patches or other files."""


@dataclass(frozen=True, eq=False)
class Cut:
    """What is kept of a sequence of images."""

    pixels: NDArray[np.uint8]
    """[N, patch, patch, 3], RGB; a memory map."""
    counts: NDArray[np.int64]
    """[images] how many patches each image has, 0 where it is too small."""
    corners: NDArray[np.int32]
    """[N, 2] top-left corner (x, y) of each patch in its image, in pixels."""


def cached(
    entries: Sequence[Entry], classes: Sequence[str], geometry: Geometry, cache: Path, processes: int | None
) -> Cut:
    """The patches of `entries` from `cache`, where they are put first if they are not there."""
    folder = cache / _key(entries, classes, geometry)
    try:
        with _alone(folder.with_suffix(".lock")):
            cut = _load(folder, geometry)
            if cut is None:
                _fill(folder, entries, geometry, processes)
                cut = _load(folder, geometry)
    except OSError as error:
        raise ConfigurationError(
            ErrorCode.DISK_FULL,
            f"the patches could not be written to {cache} ({error.strerror}); {len(entries)} images need up to "
            f"{len(entries) * geometry.patches_per_image * geometry.patch_bytes / 1e9:.1f} GB there: free some space "
            "or name another folder",
        ) from error
    if cut is None:
        raise ConfigurationError(
            ErrorCode.DISK_FULL, f"the patches written to {folder} did not come back whole; try again"
        )
    return cut


def _fill(folder: Path, entries: Sequence[Entry], geometry: Geometry, processes: int | None) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed: the lock was free
    shutil.rmtree(folder, ignore_errors=True)
    partial.mkdir()
    try:
        counts, corners = cut_all(entries, geometry, _pixels_file(partial), processes)
        np.savez(_index_file(partial), counts=counts, corners=corners)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _load(folder: Path, geometry: Geometry) -> Cut | None:
    """What lies in `folder`; None when that is nothing, or not all."""
    if not _index_file(folder).is_file():
        return None
    with np.load(_index_file(folder)) as index:
        counts, corners = index["counts"], index["corners"]
    shape = (len(corners), geometry.patch, geometry.patch, 3)
    if _pixels_file(folder).stat().st_size != len(corners) * geometry.patch_bytes:
        return None
    if not len(corners):
        return Cut(np.empty(shape, np.uint8), counts, corners)  # an empty file cannot be mapped
    return Cut(np.memmap(_pixels_file(folder), np.uint8, mode="r", shape=shape), counts, corners)


def _key(entries: Sequence[Entry], classes: Sequence[str], geometry: Geometry) -> str:
    made_of = [VERSION, PIL.__version__, asdict(geometry), list(classes)]
    digest = hashlib.sha256(json.dumps(made_of).encode())
    for entry in entries:
        row = [entry.name, entry.label, entry.picture, entry.source.fingerprint()]
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()[:16]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Held by one process at a time; the operating system gives it back when its holder is killed."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _pixels_file(folder: Path) -> Path:
    return folder / "pixels.u8"


def _index_file(folder: Path) -> Path:
    return folder / "index.npz"
