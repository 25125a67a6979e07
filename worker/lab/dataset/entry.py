"""What a data set is made of, whatever its layout: labelled images that can be read one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

SPLITS = ("train", "val", "test")
SPELLINGS = {**{split: split for split in SPLITS}, "validation": "val"}
"""What folders, manifests and file names may call a split."""


class Source(Protocol):
    """Where an image's encoded bytes lie."""

    def read(self) -> bytes:
        """The encoded image; raises `InputDataError` (`data_invalid`) naming the image when it cannot be read."""
        ...

    def fingerprint(self) -> str:
        """What changes when the bytes change, without reading them: size and time, or file and row."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One labelled image."""

    name: str
    """Names the image in errors and reports: its path relative to the data set, or its row. Unique."""
    label: str
    """The class it belongs to."""
    split: str
    """`train`, `val` or `test`."""
    dataset: str
    """Where it comes from, for figures by origin; the class when the layout does not say."""
    picture: str
    """Which picture it shows; several images may show the same one (another encoding, or rebuilt). No picture may
    come in two splits. The name when the layout does not say."""
    source: Source

    def read(self) -> bytes:
        """The encoded image."""
        return self.source.read()


@dataclass(frozen=True)
class Dataset:
    """All labelled images under one path, in a fixed order."""

    path: Path
    entries: tuple[Entry, ...]

    def of(self, split: str) -> tuple[Entry, ...]:
        """The images of one split, in order."""
        return tuple(entry for entry in self.entries if entry.split == split)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """All class names, sorted."""
        return tuple(sorted({entry.label for entry in self.entries}))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)
