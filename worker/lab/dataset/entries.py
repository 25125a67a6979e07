"""The entries of a data set: labelled images, each of which can be read by itself, whatever the layout."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.errors import ErrorCode, InputDataError, PermanentError, TransientError
from worker.files import read_regular_file
from worker.intake.decode import Image, decode, with_decoded
from worker.machine.memory import Budget

Result = TypeVar("Result")

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {**{split: split for split in SPLITS}, "validation": "val"}
"""What folders, manifests and file names may call a split, and the split that is meant."""


class Source(Protocol):
    """Where an image's encoded bytes are stored."""

    def read(self) -> bytes:
        """The encoded image; raises `InputDataError` (`data_invalid`) naming the image when it cannot be read."""
        ...

    def fingerprint(self) -> str:
        """A text that changes when the bytes change, found without reading them: size and time, or file and row."""
        ...


MAX_BYTES = 1_000_000_000
"""Of one encoded image."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """An image in a file of its own."""

    path: Path

    def read(self) -> bytes:
        """The file's content."""
        if not stat.S_ISREG(_status(self.path).st_mode):
            why = f"{self.path} is not a regular file; remove it from the data set"
            raise InputDataError(ErrorCode.DATA_INVALID, why)
        try:
            return read_regular_file(self.path, MAX_BYTES)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def size(self) -> int:
        """Bytes of the file."""
        return _status(self.path).st_size

    def fingerprint(self) -> str:
        """Size and time of the last change."""
        return file_fingerprint(self.path)


@dataclass(frozen=True, slots=True)
class Entry:
    """One labelled image."""

    name: str
    """Identifies the image in errors and reports: its path relative to the data set, or its row. Unique."""
    label: str
    """The class it belongs to."""
    split: str
    """`train`, `val` or `test`."""
    dataset: str
    """Its origin, for figures by origin; the class when the layout does not name one."""
    picture: str
    """The picture it shows. Several images may show the same picture (re-encoded, or rebuilt by a generator); no
    picture may be in two splits. The name when the layout does not name one."""
    source: Source

    def read(self) -> bytes:
        """The encoded image."""
        return self.source.read()

    def pixels(self, max_pixels: int) -> NDArray[np.uint8]:
        """The image upright, uint8 [H, W, 3], RGB, by the decoder that workers use.

        Raises `InputDataError` (`data_invalid`) naming the image when it cannot be decoded or has more than
        `max_pixels` pixels.
        """
        content = self.read()
        with self._named_in_errors():
            return decode(content, max_pixels).pixels

    def with_pixels(
        self, max_pixels: int, use: Callable[[NDArray[np.uint8]], Result], memory: Budget, *, using_bytes: int
    ) -> Result:
        """`use` of the pixels when it is the image's turn in `memory`; see `with_decoded`. Raises as `pixels` does."""
        content = self.read()

        def use_pixels(image: Image) -> Result:
            return use(image.pixels)

        with self._named_in_errors():
            return with_decoded(content, max_pixels, use_pixels, memory, using_bytes=using_bytes)

    @contextmanager
    def _named_in_errors(self) -> Iterator[None]:
        try:
            yield
        except (PermanentError, TransientError) as error:
            raise InputDataError(
                ErrorCode.DATA_INVALID,
                f"{self.name} cannot be decoded ({error.message}); fix the image or remove it "
                "(`susy data inspect` lists all unreadable images)",
            ) from error


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


def file_fingerprint(path: Path) -> str:
    """Size and time of the last change; raises `InputDataError` (`data_invalid`) when there is no such file."""
    status = _status(path)
    return f"{status.st_size} {status.st_mtime_ns}"


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputDataError:
    return InputDataError(
        ErrorCode.DATA_INVALID,
        f"{path} cannot be read ({error.strerror}); restore the file or remove it from the data set",
    )
