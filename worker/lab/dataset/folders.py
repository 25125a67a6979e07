"""A folder per class, with a folder per split in it: `<class>/train/…`; or the other way round, `train/<class>/…`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from worker.errors import ErrorCode, InputDataError
from worker.lab.dataset.entry import SPELLINGS, Dataset, Entry
from worker.lab.dataset.sources import FileSource


def open_folders(path: Path) -> Dataset:
    """All files below the split folders, sorted. Files and folders whose names begin with a dot are left alone."""
    outer = _folders(path)
    if not outer:
        raise InputDataError(ErrorCode.DATA_INVALID, f"{path} has no class folders; make one of each class")
    split_first = all(folder.name in SPELLINGS for folder in outer)
    open_outer = _open_split if split_first else _open_class
    return Dataset(path, tuple(entry for folder in outer for entry in open_outer(path, folder)))


def _open_class(path: Path, folder: Path) -> Iterator[Entry]:
    splits = _folders(folder)
    if not splits:
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"class folder {folder} is empty: it has no train, val or test; add images or remove the folder",
        )
    for split in splits:
        if split.name not in SPELLINGS:
            raise InputDataError(ErrorCode.DATA_INVALID, f"{split} is no split; name it train, val or test")
        yield from _entries(path, split, folder.name, SPELLINGS[split.name])


def _open_split(path: Path, folder: Path) -> Iterator[Entry]:
    classes = _folders(folder)
    if not classes:
        raise InputDataError(
            ErrorCode.DATA_INVALID, f"split folder {folder} has no class folders; make one of each class"
        )
    for label in classes:
        yield from _entries(path, label, label.name, SPELLINGS[folder.name])


def _entries(path: Path, folder: Path, label: str, split: str) -> Iterator[Entry]:
    # Not `is_file`: a link that leads nowhere is an image that is missing, and must be heard of.
    files = sorted(file for file in folder.rglob("*") if not file.is_dir() and not file.name.startswith("."))
    if not files:
        raise InputDataError(ErrorCode.DATA_INVALID, f"{folder} is empty; add images or remove the folder")
    for file in files:
        name = file.relative_to(path).as_posix()
        yield Entry(name, label, split, dataset=label, picture=name, source=FileSource(file))


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
