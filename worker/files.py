"""Files read within bounds, and written so that they exist whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

from worker.errors import ConfigurationError, ErrorCode

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file, or of the one that a link leads to.

    Raises `OSError`, whose `strerror` completes "the file cannot be read: …", for anything else (a named pipe is not
    waited for, a device not opened) and for a file that has, or while it is read grows to, more than `max_bytes`.
    """
    _require_regular(path.stat())
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        _require_regular(os.fstat(file.fileno()))  # it may have been swapped since
        content = bytearray()
        while len(content) <= max_bytes and (part := file.read(min(1 << 20, max_bytes + 1 - len(content)))):
            content += part
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")
    return bytes(content)


def require_replaceable(path: Path) -> None:
    """Check that `write_atomically` may write `path`: nothing exists there, or a regular file.

    Raises `ConfigurationError` (`not_a_file`). Long work whose result is a file checks this first.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:  # nothing is there, or writing will say why it cannot be looked at
        return
    if not stat.S_ISREG(mode):
        raise ConfigurationError(
            ErrorCode.NOT_A_FILE,
            f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'not a file')}, and only a regular file is replaced; "
            "name another path",
        )


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file, and create its folder if necessary; an existing file is kept until the new one is complete on disk.

    Only a regular file is replaced: writing over a link, a named pipe or a device would destroy it. Raises
    `ConfigurationError`: `not_a_file` for one of those, `disk_full` when the file cannot be written.
    """
    require_replaceable(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as file:  # "x" follows no link that someone put there
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


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(stat.S_IFMT(status.st_mode), 'not a file')}")
