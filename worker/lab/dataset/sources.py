"""Where the bytes of images lie: in files of their own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from worker.errors import ErrorCode, InputDataError, SetupError


@dataclass(frozen=True, slots=True)
class FileSource:
    """An image in a file of its own."""

    path: Path

    def read(self) -> bytes:
        """The file's content."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise _refused(self.path, error) from error

    def length(self) -> int:
        """Bytes of the file."""
        return _status(self.path).st_size

    def fingerprint(self) -> str:
        """Size and time of the last change."""
        return file_fingerprint(self.path)


def file_fingerprint(path: Path) -> str:
    """Size and time of the last change; raises `InputDataError` (`data_invalid`) when there is no such file."""
    status = _status(path)
    return f"{status.st_size} {status.st_mtime_ns}"


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> SetupError:
    return InputDataError(
        ErrorCode.DATA_INVALID,
        f"{path} cannot be read ({error.strerror}); restore the file or remove it from the data set",
    )
