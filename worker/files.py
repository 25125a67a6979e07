"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from worker.errors import ConfigurationError, ErrorCode


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file, and its folder if there is none; a file that was there before is kept until the new one lies whole
    on the disk.

    Raises `ConfigurationError` (`disk_full`) naming the file.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        kept = "the one before is kept" if path.exists() else "nothing was kept"
        raise ConfigurationError(
            ErrorCode.DISK_FULL,
            f"{path} cannot be written ({error.strerror}), {kept}; free some space, or name another place",
        ) from error


def remove_partial_files(folder: Path) -> None:
    """Remove what processes that were killed while writing left in `folder`."""
    for partial in folder.glob("*.partial"):
        partial.unlink(missing_ok=True)
