"""Opening a data set, whatever its layout. `docs/datasets.md` shows each."""

from __future__ import annotations

from pathlib import Path

from worker.errors import ErrorCode, InputDataError
from worker.lab.dataset import folders, manifest
from worker.lab.dataset.entry import Dataset

MANIFESTS = ("manifest.csv", "manifest.parquet")


def open_dataset(path: Path) -> Dataset:
    """The labelled images under `path`, none of which is read yet.

    `path` is a manifest (`.csv`, or `.parquet` with the columns path, class and split) or a folder that holds one by
    the name `manifest.csv` or `manifest.parquet`; a Parquet file or a folder of Parquet files in the layout of the
    `datasets` library; or a folder of class folders. Raises `InputDataError` (`data_invalid`) that names what is wrong.
    """
    if path.is_file():
        return _open_file(path)
    if not path.is_dir():
        raise InputDataError(
            ErrorCode.DATA_INVALID, f"there is no data set at {path}; give a folder, a .csv or a .parquet"
        )
    for name in MANIFESTS:
        if (path / name).is_file():
            return _open_file(path / name)
    files = sorted(path.rglob("*.parquet"))
    if files:
        from worker.lab.dataset import shards

        return shards.open_shards(path, files)
    return folders.open_folders(path)


def _open_file(path: Path) -> Dataset:
    if path.suffix.lower() == ".csv":
        return manifest.open_csv(path)
    if path.suffix.lower() == ".parquet":
        from worker.lab.dataset import parquet, shards

        if manifest.REQUIRED.issubset(parquet.column_names(path)):
            return manifest.open_parquet(path)
        return shards.open_shards(path.parent, [path])
    raise InputDataError(ErrorCode.DATA_INVALID, f"{path} is no data set; give a folder, a .csv or a .parquet")
