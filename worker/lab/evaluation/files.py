"""The folder that results go to."""

from __future__ import annotations

from pathlib import Path

from worker.errors import ConfigurationError, ErrorCode


def require_folder(folder: Path) -> Path:
    """`folder`, made if it is not there: before hours of scoring rather than after them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{folder} cannot be a folder for results ({error.strerror}); choose another --out"
        ) from error
    return folder
