"""Leakage between splits: the same bytes, or the same picture, in two of them. What was trained on measures nothing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.errors import ErrorCode, InputDataError
from worker.lab.dataset.entry import Dataset, Entry
from worker.lab.dataset.parallel import parallel_map
from worker.lab.dataset.sources import FileSource


@dataclass(frozen=True)
class Leak:
    """Two images that show the same and lie in different splits."""

    shared: str
    """What they have in common: `bytes` or `picture`."""
    first: Entry
    second: Entry

    def __str__(self) -> str:
        same = "have the same bytes" if self.shared == "bytes" else f"show the same picture ({self.first.picture})"
        return f"{self.first.name} ({self.first.split}) and {self.second.name} ({self.second.split}) {same}"


def refuse_leakage(dataset: Dataset) -> None:
    """Raise `InputDataError` (`data_invalid`) that names two images if any picture or any bytes lie in two splits.

    Cheap for files: only those are read whose length is also found in another split.
    """
    suspects = [entry for group in _groups(dataset, _lengths(dataset)) for entry in group]
    digests = list(parallel_map(digest, suspects, "looking for images in two splits"))
    leaks = (*picture_leaks(dataset), *byte_leaks(suspects, digests))
    if leaks:
        raise InputDataError(ErrorCode.DATA_INVALID, refusal(dataset.path, leaks))


def refusal(path: Path, leaks: Sequence[Leak]) -> str:
    """One line that names the first of `leaks`, and says how many more there are."""
    more = f" (and {len(leaks) - 1} more)" if len(leaks) > 1 else ""
    return (
        f"{path} leaks between splits: {leaks[0]}{more}; keep each in one split (`susy data inspect {path}` lists all)"
    )


def digest(entry: Entry) -> bytes:
    """SHA-256 of the image's bytes."""
    return hashlib.sha256(entry.read()).digest()


def byte_leaks(entries: Sequence[Entry], digests: Sequence[Hashable]) -> tuple[Leak, ...]:
    """One pair of images for each digest that occurs in several splits; `digests` belong to `entries` in order."""
    return tuple(_leak("bytes", group) for group in _groups(entries, digests))


def picture_leaks(entries: Iterable[Entry]) -> tuple[Leak, ...]:
    """One pair of images for each picture that occurs in several splits."""
    entries = tuple(entries)
    return tuple(_leak("picture", group) for group in _groups(entries, [entry.picture for entry in entries]))


def _leak(shared: str, group: Sequence[Entry]) -> Leak:
    return Leak(shared, group[0], next(entry for entry in group if entry.split != group[0].split))


def _groups(entries: Iterable[Entry], keys: Iterable[Hashable]) -> list[list[Entry]]:
    """The entries that share a key, where they lie in several splits."""
    by_key: dict[Hashable, list[Entry]] = defaultdict(list)
    for entry, key in zip(entries, keys, strict=True):
        by_key[key].append(entry)
    return [group for group in by_key.values() if len({entry.split for entry in group}) > 1]


def _lengths(entries: Iterable[Entry]) -> Iterable[int | None]:
    """The length of each image in bytes; None for all whose length is not known without reading them."""
    for entry in entries:
        yield entry.source.length() if isinstance(entry.source, FileSource) else None
