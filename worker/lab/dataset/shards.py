"""Parquet files as the `datasets` library writes them, and the Hub converts to: the layout of HPAI-BSC/SuSy-Dataset.

A row has a column of the feature `Image`, a struct of the encoded bytes and a file name, and one of the feature
`ClassLabel`, a number whose names stand in the file's schema. The split is in the file's name, `train-00000-of-00042`,
or in its folder's. `datasets` says what the columns mean; rows are then read from where they lie, because the library's
own loader would first write all images to its cache a second time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.errors import ConfigurationError, ErrorCode, InputDataError
from worker.lab.dataset import parquet
from worker.lab.dataset.entry import SPELLINGS, Dataset, Entry
from worker.lab.dataset.sources import file_fingerprint

_SPLIT = re.compile(rf"(?:partial-)?({'|'.join(SPELLINGS)})(?![a-z])")


@dataclass(frozen=True, slots=True)
class RowSource:
    """An image in a row of a Parquet file."""

    path: Path
    column: str
    group: int
    row: int
    """Within its row group."""

    def read(self) -> bytes:
        """The bytes in the row; its row group is read from the disk, unless it was the last one read."""
        content = parquet.group(self.path, self.group, f"{self.column}.bytes")[self.row].as_py()
        if content is None:
            raise InputDataError(
                ErrorCode.DATA_INVALID,
                f"{self.path}, row {self.row} of group {self.group}: {self.column} has no bytes, only a file name; "
                "write the file with the images embedded",
            )
        return bytes(content)

    def fingerprint(self) -> str:
        """The file's size and time, and the row."""
        return f"{file_fingerprint(self.path)} {self.group} {self.row}"


def open_shards(path: Path, files: Sequence[Path]) -> Dataset:
    """All rows of `files`, in order; names are relative to `path`."""
    return Dataset(path, tuple(entry for file in files for entry in _entries(path, file)))


def _entries(path: Path, file: Path) -> Iterator[Entry]:
    features = _features(file)
    image, label = _column(file, features, "Image"), _column(file, features, "ClassLabel")
    split = _split(file)
    row = 0
    for group, numbers in enumerate(parquet.values(file, label)):
        for place, number in enumerate(numbers):
            name = f"{file.relative_to(path).as_posix()}:{row}"
            if number is None or not 0 <= number < features[label].num_classes:
                raise InputDataError(
                    ErrorCode.DATA_INVALID, f"{name}: {label} is {number}, which has no name; label the row or drop it"
                )
            source = RowSource(file, image, group, place)
            class_name = features[label].int2str(number)
            yield Entry(name, class_name, split, dataset=class_name, picture=name, source=source)
            row += 1


def _features(file: Path) -> Any:
    try:
        from datasets import Features
    except ImportError as error:
        raise ConfigurationError(
            ErrorCode.MISSING_EXTRA,
            "a data set in the Hub's layout needs datasets: pip install 'susy-worker[datasets]'",
        ) from error
    with parquet.opened(file) as opened:
        return Features.from_arrow_schema(opened.schema_arrow)


def _column(file: Path, features: Any, kind: str) -> str:
    names = [name for name, feature in features.items() if getattr(feature, "_type", None) == kind]
    if len(names) != 1:
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"{file} has {len(names)} columns of the feature {kind}, and needs one; "
            "write it with the datasets library, or list the images in a manifest",
        )
    return str(names[0])


def _split(file: Path) -> str:
    for name in (file.name, file.parent.name):
        match = _SPLIT.match(name)
        if match:
            return SPELLINGS[match[1]]
    raise InputDataError(
        ErrorCode.DATA_INVALID, f"{file} names no split; call it train-….parquet, val-….parquet or test-….parquet"
    )
