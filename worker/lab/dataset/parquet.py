"""Parquet files, read one part at a time by pyarrow (the extra `datasets`).

The `datasets` library writes data sets as Parquet, and the Hub converts to it: the layout of HPAI-BSC/SuSy-Dataset. A
row has a column of the feature `Image`, a struct of the encoded bytes and a file name, and one of the feature
`ClassLabel`, a number whose names are in the file's schema. The split is in the file's name,
`train-00000-of-00042.parquet`, or in its folder's. `datasets` says what the columns mean; rows are then read in place,
because the library's own loader would first write a second copy of all images to its cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from worker.errors import ErrorCode, InputDataError
from worker.extras import require_extra
from worker.lab.dataset.entries import SPLIT_NAMES, Dataset, Entry, file_fingerprint

_SPLIT = re.compile(rf"(?:partial-)?({'|'.join(SPLIT_NAMES)})(?![a-z])")


def column_names(path: Path) -> tuple[str, ...]:
    """The names of a file's columns."""
    with _opened(path) as file:
        return tuple(file.schema_arrow.names)


def rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file with these columns; one batch is in memory at a time."""
    with _opened(path) as file:
        for batch in file.iter_batches(columns=columns):
            yield from batch.to_pylist()


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
        content = _row_group(self.path, self.group, self.column)[self.row].as_py()
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
    for group, numbers in enumerate(_values(file, label)):
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
    require_extra("datasets", what="a data set in the Hub's layout")
    from datasets import Features

    with _opened(file) as opened:
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
            return SPLIT_NAMES[match[1]]
    raise InputDataError(
        ErrorCode.DATA_INVALID,
        f"{file} does not name its split; call it train-….parquet, val-….parquet or test-….parquet",
    )


def _values(path: Path, column: str) -> list[list[Any]]:
    """All values of one column, by row group."""
    with _opened(path) as file:
        groups = range(file.num_row_groups)
        return [file.read_row_group(group, columns=[column]).column(0).to_pylist() for group in groups]


@lru_cache(maxsize=1)
def _row_group(path: Path, group: int, column: str) -> Any:
    """The images' bytes of one row group, as an Arrow array that stays in memory until another group is read: reading
    rows in order decompresses each group once."""
    with _opened(path) as file:
        images = file.read_row_group(group, columns=[f"{column}.bytes"]).column(0)
    return images.combine_chunks().field(0)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open `pyarrow.parquet.ParquetFile`.

    Raises `ConfigurationError` (`missing_extra`) without pyarrow, and `InputDataError` (`data_invalid`) for a file that
    cannot be read, when it is opened or later.
    """
    require_extra("datasets", what="reading Parquet")
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (OSError, pyarrow.ArrowException) as error:
        raise InputDataError(
            ErrorCode.DATA_INVALID, f"{path} is not a readable Parquet file ({error}); download it again"
        ) from error
