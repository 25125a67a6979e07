"""Writing files so that they exist whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from worker.errors import ConfigurationError, ErrorCode


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file, and create its folder if necessary; an existing file is kept until the new one is complete on disk.

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
        kept = "the previous file is kept" if path.exists() else "nothing was written"
        raise ConfigurationError(
            ErrorCode.DISK_FULL,
            f"{path} cannot be written ({error.strerror}), {kept}; free some space, or name another path",
        ) from error


def remove_partial_files(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in `folder`."""
    for partial in folder.glob("*.partial"):
        partial.unlink(missing_ok=True)
