"""Reading Parquet files a part at a time, by pyarrow (the extra `datasets`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from worker.errors import ConfigurationError, ErrorCode, InputDataError


def column_names(path: Path) -> tuple[str, ...]:
    """The names of a file's columns."""
    with opened(path) as file:
        return tuple(file.schema_arrow.names)


def rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file, those columns of them, a batch in memory at a time."""
    with opened(path) as file:
        for batch in file.iter_batches(columns=columns):
            yield from batch.to_pylist()


def values(path: Path, column: str) -> list[list[Any]]:
    """All values of one column, by row group."""
    with opened(path) as file:
        groups = range(file.num_row_groups)
        return [file.read_row_group(group, columns=[column]).column(0).to_pylist() for group in groups]


@lru_cache(maxsize=1)
def group(path: Path, number: int, field: str) -> Any:
    """One field (`column` or `column.member`) of one row group, as an Arrow array that stays in memory until the
    next one is asked for: whoever reads rows in order decompresses each group once."""
    with opened(path) as file:
        array = file.read_row_group(number, columns=[field]).column(0).combine_chunks()
    return array.field(0) if "." in field else array


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An open `pyarrow.parquet.ParquetFile`. Raises `SetupError`: `missing_extra`, or `data_invalid` for what is wrong
    with the file, at opening or while it is read."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError(
            ErrorCode.MISSING_EXTRA, "reading Parquet needs pyarrow: pip install 'susy-worker[datasets]'"
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (OSError, pyarrow.ArrowException) as error:
        raise InputDataError(
            ErrorCode.DATA_INVALID, f"{path} is no Parquet file that can be read ({error}); fetch it again"
        ) from error
