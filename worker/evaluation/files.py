"""Results on disk: whole, or not there."""

from __future__ import annotations

import os
from pathlib import Path

from worker.errors import ErrorCode, SetupError


def need_folder(folder: Path) -> Path:
    """`folder`, made if it is not there: before hours of scoring rather than after them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            ErrorCode.SETTINGS, f"{folder} cannot be a folder for results ({error.strerror}); choose another --out"
        ) from error
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a file atomically. Raises `SetupError` (`disk_full`) naming it; what was there before is kept."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise SetupError(
            ErrorCode.DISK_FULL, f"{path} could not be written ({error.strerror}); make room, or choose another --out"
        ) from error
