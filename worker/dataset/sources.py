"""Where the bytes of images lie: files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from worker.errors import ErrorCode, SetupError


@dataclass(frozen=True, slots=True)
class FileSource:
    """An image in a file of its own."""

    path: Path

    def read(self) -> bytes:
        """The file's content."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise self._refused(error) from error

    def fingerprint(self) -> str:
        """Size and time of the last change."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise self._refused(error) from error
        return f"{status.st_size} {status.st_mtime_ns}"

    def _refused(self, error: OSError) -> SetupError:
        return SetupError(
            ErrorCode.DATA_INVALID,
            f"{self.path} cannot be read ({error.strerror}); restore the file or remove it from the data set",
        )
