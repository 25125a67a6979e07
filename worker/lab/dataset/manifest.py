"""A manifest: one row an image, with the columns path, class and split, and if wanted dataset and picture."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from worker.errors import ErrorCode, InputDataError
from worker.lab.dataset.entry import SPELLINGS, Dataset, Entry
from worker.lab.dataset.sources import FileSource

REQUIRED = frozenset({"path", "class", "split"})
OPTIONAL = frozenset({"dataset", "picture"})


def open_csv(path: Path) -> Dataset:
    """A manifest in CSV with a header line, UTF-8. Columns of other names are ignored."""
    try:
        # utf-8-sig: spreadsheets put a mark before the header.
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            _need_columns(path, reader.fieldnames or ())
            return _dataset(path, reader, first=2)  # as an editor counts the lines
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputDataError(
            ErrorCode.DATA_INVALID, f"{path} is no CSV that can be read ({error}); write it anew"
        ) from error


def open_parquet(path: Path) -> Dataset:
    """A manifest in Parquet. Columns of other names are ignored."""
    from worker.lab.dataset import parquet

    names = parquet.column_names(path)
    _need_columns(path, names)
    return _dataset(path, parquet.rows(path, sorted((REQUIRED | OPTIONAL) & set(names))), first=1)


def _need_columns(path: Path, names: Iterable[str]) -> None:
    missing = sorted(REQUIRED - set(names))
    if missing:
        raise InputDataError(ErrorCode.DATA_INVALID, f"{path} lacks the column {', '.join(missing)}; add it")


def _dataset(path: Path, rows: Iterable[Mapping[str, str | None]], first: int) -> Dataset:
    entries: dict[str, Entry] = {}
    for number, row in enumerate(rows, first):
        entry = _entry(path, number, row)
        if entry.name in entries:
            other = entries[entry.name]
            where = f"for {other.split} and for {entry.split}" if other.split != entry.split else "twice"
            raise InputDataError(
                ErrorCode.DATA_INVALID, f"{path}, row {number}: {entry.name} is listed {where}; keep one of the rows"
            )
        entries[entry.name] = entry
    if not entries:
        raise InputDataError(ErrorCode.DATA_INVALID, f"{path} lists no image; add rows")
    return Dataset(path, tuple(entries.values()))


def _entry(path: Path, number: int, row: Mapping[str, str | None]) -> Entry:
    for column in sorted(REQUIRED):
        if not row[column]:
            raise InputDataError(ErrorCode.DATA_INVALID, f"{path}, row {number}: {column} is empty; fill it in")
    name, label, split = str(row["path"]), str(row["class"]), str(row["split"])
    if split not in SPELLINGS:
        raise InputDataError(
            ErrorCode.DATA_INVALID, f"{path}, row {number}: {split!r} is no split; write train, val or test"
        )
    return Entry(
        name,
        label,
        SPELLINGS[split],
        dataset=row.get("dataset") or label,
        picture=row.get("picture") or name,
        source=FileSource(path.parent / name),
    )
