"""Opening a data set in any of its layouts: folders, a manifest, or Parquet files. `docs/datasets.md` shows each.

No image is read when a data set is opened.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from worker.errors import ErrorCode, InputDataError
from worker.lab.dataset.entries import SPLIT_NAMES, Dataset, Entry, FileSource
from worker.sources.files import as_text

MANIFEST_FILES = ("manifest.csv", "manifest.parquet")
REQUIRED_COLUMNS = frozenset({"path", "class", "split"})
OPTIONAL_COLUMNS = frozenset({"dataset", "picture"})


def open_dataset(path: Path) -> Dataset:
    """The labelled images under `path`.

    `path` is a manifest (`.csv`, or `.parquet` with the columns path, class and split) or a folder with one named
    `manifest.csv` or `manifest.parquet`; a Parquet file or a folder of Parquet files in the layout of the `datasets`
    library; or a folder of class folders. Raises `InputDataError` (`data_invalid`) that names what is wrong.
    """
    if path.is_file():
        return _open_file(path)
    if not path.is_dir():
        raise _invalid(f"there is no data set at {path}; give a folder, a .csv or a .parquet")
    for name in MANIFEST_FILES:
        if (path / name).is_file():
            return _open_file(path / name)
    files = sorted(path.rglob("*.parquet"))
    if files:
        from worker.lab.dataset import parquet

        return parquet.open_shards(path, files)
    return _open_folders(path)


def _open_file(path: Path) -> Dataset:
    if path.suffix.lower() == ".csv":
        return _open_csv(path)
    if path.suffix.lower() == ".parquet":
        from worker.lab.dataset import parquet

        columns = parquet.column_names(path)
        if REQUIRED_COLUMNS.issubset(columns):
            wanted = sorted((REQUIRED_COLUMNS | OPTIONAL_COLUMNS) & set(columns))
            return _from_rows(path, parquet.rows(path, wanted), first=1)
        return parquet.open_shards(path.parent, [path])
    raise _invalid(f"{path} is not a data set; give a folder, a .csv or a .parquet")


# A manifest: one row per image. Columns of other names are ignored.


def _open_csv(path: Path) -> Dataset:
    try:
        # utf-8-sig: spreadsheets put a mark before the header.
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = sorted(REQUIRED_COLUMNS - set(reader.fieldnames or ()))
            if missing:
                raise _invalid(f"{path} lacks the column {', '.join(missing)}; add it")
            return _from_rows(path, reader, first=2)  # as an editor counts the lines
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _invalid(f"{path} is not a readable CSV file ({error}); rewrite it") from error


def _from_rows(path: Path, rows: Iterable[Mapping[str, str | None]], first: int) -> Dataset:
    entries: dict[str, Entry] = {}
    for number, row in enumerate(rows, first):
        entry = _entry(path, number, row)
        if entry.name in entries:
            other = entries[entry.name]
            where = f"for {other.split} and for {entry.split}" if other.split != entry.split else "twice"
            raise _invalid(f"{path}, row {number}: {entry.name} is listed {where}; keep one of the rows")
        entries[entry.name] = entry
    if not entries:
        raise _invalid(f"{path} lists no image; add rows")
    return Dataset(path, tuple(entries.values()))


def _entry(path: Path, number: int, row: Mapping[str, str | None]) -> Entry:
    for column in sorted(REQUIRED_COLUMNS):
        if not row[column]:
            raise _invalid(f"{path}, row {number}: {column} is empty; fill it in")
    name, label, split = str(row["path"]), str(row["class"]), str(row["split"])
    if "\x00" in name:
        raise _invalid(f"{path}, row {number}: the path contains a NUL character, which no file's name has; correct it")
    if split not in SPLIT_NAMES:
        raise _invalid(f"{path}, row {number}: {split!r} is not a split; write train, val or test")
    return Entry(
        name,
        label,
        SPLIT_NAMES[split],
        dataset=row.get("dataset") or label,
        picture=row.get("picture") or name,
        source=FileSource(path.parent / name),
    )


# A folder per class with a folder per split in it, or the other way round. Names that begin with a dot are ignored.


def _open_folders(path: Path) -> Dataset:
    outer = _folders(path)
    if not outer:
        raise _invalid(f"{path} has no class folders; make one per class")
    entries_of = _split_folder if all(folder.name in SPLIT_NAMES for folder in outer) else _class_folder
    return Dataset(path, tuple(entry for folder in outer for entry in entries_of(path, folder)))


def _class_folder(path: Path, folder: Path) -> Iterator[Entry]:
    splits = _folders(folder)
    if not splits:
        raise _invalid(f"class folder {folder} is empty: it has no train, val or test; add images or remove the folder")
    for split in splits:
        if split.name not in SPLIT_NAMES:
            raise _invalid(f"{split} is not a split; name it train, val or test")
        yield from _files(path, split, folder.name, SPLIT_NAMES[split.name])


def _split_folder(path: Path, folder: Path) -> Iterator[Entry]:
    classes = _folders(folder)
    if not classes:
        raise _invalid(f"split folder {folder} has no class folders; make one per class")
    for label in classes:
        yield from _files(path, label, label.name, SPLIT_NAMES[folder.name])


def _files(path: Path, folder: Path, label: str, split: str) -> Iterator[Entry]:
    # Not `is_file`: a link that leads nowhere is an image that is missing, and must be reported.
    files = sorted(file for file in folder.rglob("*") if not file.is_dir() and not file.name.startswith("."))
    if not files:
        raise _invalid(f"{folder} is empty; add images or remove the folder")
    for file in files:
        name, label = as_text(file.relative_to(path).as_posix()), as_text(label)
        yield Entry(name, label, split, dataset=label, picture=name, source=FileSource(file))


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _invalid(message: str) -> InputDataError:
    return InputDataError(ErrorCode.DATA_INVALID, message)
