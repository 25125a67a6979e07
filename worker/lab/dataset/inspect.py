"""Looking at every image of a data set once: what there is, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.errors import SusyError
from worker.intake.decode import decode
from worker.lab.dataset.checks import classes_outside_train
from worker.lab.dataset.decoding import MAX_PIXELS
from worker.lab.dataset.entry import SPLITS, Dataset, Entry
from worker.lab.dataset.geometry import Geometry
from worker.lab.dataset.leakage import Leak, byte_leaks, picture_leaks
from worker.lab.dataset.parallel import parallel_map

SMALLEST_SIDE = Geometry().patch
"""Images below it on a side have no patch to train on."""


@dataclass(frozen=True)
class Look:
    """What is found in one image."""

    digest: bytes
    """SHA-256 of its bytes; empty where they cannot be read."""
    width: int = 0
    height: int = 0
    format: str = ""
    error: str = ""
    """Why it cannot be read or decoded; empty where it can."""


@dataclass(frozen=True)
class Inspection:
    """What is found in a data set."""

    path: Path
    counts: Mapping[str, Mapping[str, int]]
    """Images by class and split."""
    formats: Mapping[str, int]
    """Images by format, the most frequent first."""
    sizes: tuple[tuple[int, int], ...]
    """(width, height) of the smallest, the median and the largest image by pixels; empty if none can be read."""
    too_small: tuple[str, ...]
    """Names of images under 240 pixels on a side."""
    unreadable: Mapping[str, str]
    """Names of images that cannot be read or decoded, and why."""
    duplicates: tuple[tuple[str, ...], ...]
    """Names of images with the same bytes within one split, group by group."""
    leaks: tuple[Leak, ...]
    """Images with the same bytes, or of the same picture, in two splits."""
    outside_train: tuple[str, ...]
    """Classes that no image in `train` belongs to, though there is a `train`."""


def inspect(dataset: Dataset) -> Inspection:
    """Read and decode every image, on all cores; memory holds a few numbers of each."""
    looks = list(zip(dataset.entries, parallel_map(look, dataset.entries, "looking at images"), strict=True))
    readable = [(entry, found) for entry, found in looks if not found.error]
    hashed = [(entry, found.digest) for entry, found in looks if found.digest]
    return Inspection(
        path=dataset.path,
        counts=_counts(dataset),
        formats=dict(Counter(found.format for _, found in readable).most_common()),
        sizes=_sizes([(found.width, found.height) for _, found in readable]),
        too_small=tuple(entry.name for entry, found in readable if min(found.width, found.height) < SMALLEST_SIDE),
        unreadable={entry.name: found.error for entry, found in looks if found.error},
        duplicates=_duplicates(hashed),
        leaks=(*picture_leaks(dataset), *byte_leaks([entry for entry, _ in hashed], [digest for _, digest in hashed])),
        outside_train=classes_outside_train(dataset),
    )


def look(entry: Entry) -> Look:
    """Read and decode one image; what is wrong with it is part of the answer."""
    digest = b""
    try:
        content = entry.read()
        digest = hashlib.sha256(content).digest()
        image = decode(content, MAX_PIXELS)
    except SusyError as error:
        return Look(digest, error=error.message)
    return Look(digest, image.width, image.height, image.format)


def _counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    counted = Counter((entry.label, entry.split) for entry in dataset)
    return {label: {split: counted[label, split] for split in SPLITS} for label in dataset.labels}


def _sizes(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return (ordered[0], ordered[len(ordered) // 2], ordered[-1]) if ordered else ()


def _duplicates(hashed: Sequence[tuple[Entry, bytes]]) -> tuple[tuple[str, ...], ...]:
    names: dict[tuple[str, bytes], list[str]] = defaultdict(list)
    for entry, digest in hashed:
        names[entry.split, digest].append(entry.name)
    return tuple(tuple(group) for group in names.values() if len(group) > 1)
