"""What may be wrong with a data set: a missing split or class, leakage between splits, unreadable images.

Leakage is the same bytes, or the same picture, in two splits: an evaluation on images that were trained on measures
nothing. `require_splits` and `require_trainable` look at labels only; `refuse_leakage` reads some files, and `inspect`
decodes every image.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from worker.errors import ErrorCode, InputDataError, SusyError
from worker.intake.decode import Image, with_decoded
from worker.lab.dataset.entries import SPLITS, Dataset, Entry, FileSource
from worker.lab.dataset.parallel import memory_of_process, parallel_map
from worker.lab.dataset.patches import Geometry

SMALLEST_SIDE = Geometry().patch
"""Pixels; an image with a smaller side has no patch to train on."""


def require_splits(dataset: Dataset, splits: Sequence[str]) -> None:
    """Raise `InputDataError` (`data_invalid`) unless each of `splits` has images."""
    counts = Counter(entry.split for entry in dataset)
    for split in splits:
        if not counts[split]:
            present = ", ".join(f"{name} ({counts[name]})" for name in sorted(counts)) or "no image at all"
            raise InputDataError(
                ErrorCode.DATA_INVALID,
                f"{dataset.path} has no image in the split {split}; there is {present}: add some, or choose another",
            )


def require_trainable(dataset: Dataset, classes: Sequence[str] = ()) -> None:
    """Raise `InputDataError` (`data_invalid`) unless a network can be trained on `classes`, by default on all classes.

    Each class needs images in `train` and in `val`; without `classes`, a class outside `train` is refused as well.
    """
    require_splits(dataset, ("train", "val"))
    outside = classes_outside_train(dataset)
    if outside and not classes:
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"class {', '.join(outside)} of {dataset.path} has images in other splits, but none in train; "
            "add some, or name the classes to train on",
        )
    for split in ("train", "val"):
        present = {entry.label for entry in dataset.of(split)}
        for name in classes or dataset.labels:
            if name not in present:
                raise InputDataError(
                    ErrorCode.DATA_INVALID,
                    f"class {name} of {dataset.path} has no image in the split {split}; add some or leave it out",
                )


def classes_outside_train(dataset: Dataset) -> tuple[str, ...]:
    """The classes that have images, but none in `train`, sorted; empty when nothing is in `train`."""
    trained = {entry.label for entry in dataset.of("train")}
    return tuple(name for name in dataset.labels if name not in trained) if trained else ()


@dataclass(frozen=True)
class Leak:
    """Two images with the same content in different splits."""

    shared: str
    """What they have in common: `bytes` or `picture`."""
    first: Entry
    second: Entry

    def __str__(self) -> str:
        same = "have the same bytes" if self.shared == "bytes" else f"show the same picture ({self.first.picture})"
        return f"{self.first.name} ({self.first.split}) and {self.second.name} ({self.second.split}) {same}"


def refuse_leakage(dataset: Dataset) -> None:
    """Raise `InputDataError` (`data_invalid`) naming two images if a picture or the same bytes are in two splits.

    Of files, only those are read whose size also occurs in another split.
    """
    candidates = [entry for group in _across_splits(dataset, map(_size, dataset)) for entry in group]
    digests = list(parallel_map(_digest, candidates, "looking for images in two splits"))
    leaks = (*_picture_leaks(dataset), *_byte_leaks(candidates, digests))
    if leaks:
        raise InputDataError(ErrorCode.DATA_INVALID, leakage_message(dataset.path, leaks))


def content_digests(entries: Sequence[Entry]) -> list[bytes]:
    """SHA-256 of each image's bytes, in order. Raises `InputDataError` (`data_invalid`) for an unreadable one."""
    return list(parallel_map(_digest, entries, "looking for duplicates"))


def leakage_message(path: Path, leaks: Sequence[Leak]) -> str:
    """One line that names the first of `leaks` and counts the others."""
    more = f" (and {len(leaks) - 1} more)" if len(leaks) > 1 else ""
    return (
        f"{path} leaks between splits: {leaks[0]}{more}; keep each in one split (`susy data inspect {path}` lists all)"
    )


@dataclass(frozen=True)
class Inspection:
    """What was found in a data set."""

    path: Path
    counts: Mapping[str, Mapping[str, int]]
    """Images by class and split."""
    formats: Mapping[str, int]
    """Images by format, the most frequent first."""
    sizes: tuple[tuple[int, int], ...]
    """(width, height) of the smallest, the median and the largest image by pixels; empty if none can be read."""
    too_small: tuple[str, ...]
    """Names of images with a side under 240 pixels."""
    unreadable: Mapping[str, str]
    """Names of images that cannot be read or decoded, and why."""
    duplicates: tuple[tuple[str, ...], ...]
    """Names of images with the same bytes within one split, by group."""
    leaks: tuple[Leak, ...]
    outside_train: tuple[str, ...]
    """Classes without an image in `train`; empty when nothing is in `train`."""


def inspect(dataset: Dataset, *, max_pixels: int, memory: int | None = None) -> Inspection:
    """Read and decode every image, on all cores; memory holds a few numbers per image, and the images in flight take
    `memory` bytes at once, by default half of the machine's.

    An image with more than `max_pixels` pixels counts as unreadable.
    """
    inspect_one = partial(_inspect_image, max_pixels=max_pixels)
    results = list(
        zip(dataset, parallel_map(inspect_one, dataset.entries, "reading images", memory=memory), strict=True)
    )
    readable = [(entry, found) for entry, found in results if not found.error]
    hashed = [(entry, found.digest) for entry, found in results if found.digest]
    return Inspection(
        path=dataset.path,
        counts=_counts(dataset),
        formats=dict(Counter(found.format for _, found in readable).most_common()),
        sizes=_sizes([(found.width, found.height) for _, found in readable]),
        too_small=tuple(entry.name for entry, found in readable if min(found.width, found.height) < SMALLEST_SIDE),
        unreadable={entry.name: found.error for entry, found in results if found.error},
        duplicates=_duplicates(hashed),
        leaks=(
            *_picture_leaks(dataset),
            *_byte_leaks([entry for entry, _ in hashed], [digest for _, digest in hashed]),
        ),
        outside_train=classes_outside_train(dataset),
    )


@dataclass(frozen=True)
class _ImageFacts:
    digest: bytes
    """SHA-256 of the encoded bytes; empty where they cannot be read."""
    width: int = 0
    height: int = 0
    format: str = ""
    error: str = ""
    """Why the image cannot be read or decoded; empty where it can."""


def _inspect_image(entry: Entry, max_pixels: int) -> _ImageFacts:
    digest = b""
    try:
        content = entry.read()
        digest = hashlib.sha256(content).digest()
        return with_decoded(content, max_pixels, partial(_facts, digest), memory_of_process(), using_bytes=0)
    except SusyError as error:
        return _ImageFacts(digest, error=error.message)


def _facts(digest: bytes, image: Image) -> _ImageFacts:
    return _ImageFacts(digest, image.width, image.height, image.format)


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


def _digest(entry: Entry) -> bytes:
    return hashlib.sha256(entry.read()).digest()


def _size(entry: Entry) -> int | None:
    """Bytes of the image; None where the number is not known without reading it."""
    return entry.source.size() if isinstance(entry.source, FileSource) else None


def _byte_leaks(entries: Sequence[Entry], digests: Sequence[Hashable]) -> list[Leak]:
    """One pair of images for each digest that occurs in several splits; `digests` belong to `entries` in order."""
    return [_leak("bytes", group) for group in _across_splits(entries, digests)]


def _picture_leaks(dataset: Dataset) -> list[Leak]:
    """One pair of images for each picture that occurs in several splits."""
    return [_leak("picture", group) for group in _across_splits(dataset, [entry.picture for entry in dataset])]


def _leak(shared: str, group: Sequence[Entry]) -> Leak:
    return Leak(shared, group[0], next(entry for entry in group if entry.split != group[0].split))


def _across_splits(entries: Iterable[Entry], keys: Iterable[Hashable]) -> list[list[Entry]]:
    """The entries that share a key, for each key that occurs in several splits."""
    by_key: dict[Hashable, list[Entry]] = defaultdict(list)
    for entry, key in zip(entries, keys, strict=True):
        by_key[key].append(entry)
    return [group for group in by_key.values() if len({entry.split for entry in group}) > 1]
