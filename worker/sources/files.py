"""Images in files: an absolute path, or a `file://` URI of this host.

A path is hostile: whoever uploads chooses its name, and may share a folder with the files it names. Nothing outside the
configured roots is ever opened, and nothing but a regular file is ever read.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from worker.errors import ErrorCode, PermanentError, SusyError, TransientError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_NO_FILE = (errno.ENXIO, errno.ENODEV, errno.EISDIR, errno.EOPNOTSUPP)

# O_NONBLOCK: a FIFO that takes a file's place between the look and the opening must not hold the thread.
_OPEN_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read(uri: str, roots: Sequence[Path], max_bytes: int) -> bytes:
    """The encoded image that `uri` names, at most `max_bytes` long.

    Raises `PermanentError` (`unsupported_source`, `outside_roots`, `not_found`, `not_a_file`, `unreadable`,
    `too_many_bytes`), or `TransientError(unreadable)` where the disk, and not the source, is at fault.
    """
    path, root = _inside(uri, roots)
    try:
        with open(path, "rb", opener=lambda *_: _open_beneath(root, path)) as file:
            status = os.fstat(file.fileno())
            _require_regular(status.st_mode, path)
            _require_at_most(status.st_size, max_bytes, path)
            # One byte past the size shows a file that grows; it is followed up to the cap, and no further.
            content = file.read(status.st_size + 1)
            if len(content) > status.st_size:
                content += file.read(max_bytes + 1 - len(content))
            _require_at_most(len(content), max_bytes, path)
            return content
    except OSError as error:
        raise _translated(error, path) from error


def uri_of(path: str | Path) -> str:
    """The URI by which `read` finds an absolute path: the path itself, or a `file://` URI with escapes.

    A name of a file is bytes. One that is not UTF-8 cannot be stored in Postgres, sent as JSON or printed; a URI
    writes such bytes as `%FF`.
    """
    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        return f"file://{quote_from_bytes(os.fsencode(name))}"
    return name


def as_text(name: str) -> str:
    """A file's name, or its path inside a folder, as text: itself, or escaped as in `uri_of` if it is not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return quote_from_bytes(os.fsencode(name))
    return name


def display_path(path: str | Path) -> str:
    """A path as given, or, where its name is not UTF-8, as its URI."""
    absolute = Path(path).absolute()
    uri = uri_of(absolute)
    return uri if uri != str(absolute) else str(path)


def locate(uri: str, roots: Sequence[Path]) -> Path:
    """The regular file that `uri` names, free of links, under one of `roots`. Opens nothing.

    `uri` is an absolute path or a `file://` URI of this host. Raises as `read` does, for the same reasons.
    """
    return _inside(uri, roots)[0]


def scheme_of(uri: str) -> str:
    """The scheme of a URI in lower case; "" of a bare path."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else ""


def _inside(uri: str, roots: Sequence[Path]) -> tuple[Path, Path]:
    """The file that `uri` names and the root that it lies under, both free of links."""
    named = path_of(uri)
    if not roots:
        raise PermanentError(
            ErrorCode.OUTSIDE_ROOTS,
            f"{named!r} is refused because SUSY_IMAGE_ROOTS is empty; set it to the folders that hold images",
        )
    if "\x00" in named:
        raise PermanentError(ErrorCode.NOT_FOUND, f"{named!r} contains a NUL character, which no file's name has")
    # Not strict, so that a path outside the roots gets the same answer whether it exists or not.
    try:
        path = Path(os.path.realpath(named))
    except OSError as error:  # a link that it was about to follow has gone
        raise TransientError(
            ErrorCode.UNREADABLE, f"{named!r} was exchanged while it was looked for ({error.strerror})"
        ) from error
    real_roots = [Path(os.path.realpath(root)) for root in roots]
    root = next((root for root in real_roots if path.is_relative_to(root)), None)
    if root is None:
        raise PermanentError(
            ErrorCode.OUTSIDE_ROOTS,
            f"{named!r}, or what its links lead to, is under none of SUSY_IMAGE_ROOTS; move it there or add its folder",
        )
    if not root.is_dir():
        # A mount that is away says nothing about the image: quarantining all that wait for it would be wrong.
        raise TransientError(
            ErrorCode.UNREADABLE, f"the root {str(root)!r} is not there; mount it, or correct SUSY_IMAGE_ROOTS"
        )
    try:
        _require_regular(path.lstat().st_mode, path)
    except OSError as error:
        raise _translated(error, path) from error
    return path, root


def path_of(uri: str) -> str:
    """The absolute path that a bare path or a `file://` URI names. Raises `PermanentError` (`unsupported_source`)."""
    scheme = scheme_of(uri)
    if scheme == "file":
        rest = uri.partition(":")[2]
        host, path = "", rest
        if rest.startswith("//"):
            host, slash, tail = rest[2:].partition("/")
            path = slash + tail
        if host.lower() not in ("", "localhost"):
            raise PermanentError(
                ErrorCode.UNSUPPORTED_SOURCE, "a file:// URI of another host cannot be read; write file:///path"
            )
        if "?" in path or "#" in path:
            raise PermanentError(
                ErrorCode.UNSUPPORTED_SOURCE,
                "a file:// URI has neither query nor fragment; write %3F for ? and %23 for # in a file's name",
            )
        path = os.fsdecode(unquote_to_bytes(path))
    elif scheme:
        # The URI itself stays out of the message: it may carry a password or a signature.
        raise PermanentError(
            ErrorCode.UNSUPPORTED_SOURCE,
            f"{scheme}: is not the scheme of a file; give an absolute path or a file:// URI under SUSY_IMAGE_ROOTS",
        )
    else:
        path = uri
    if not path.startswith("/"):
        raise PermanentError(
            ErrorCode.UNSUPPORTED_SOURCE, f"{path!r} is a relative path; give an absolute one or a file:// URI"
        )
    return path


def _open_beneath(root: Path, path: Path) -> int:
    """Open `path` name by name from `root`, following no link.

    `path` was free of links when it was resolved. One that has appeared since stops the walk, so what is opened lies
    under the root whatever happens to its folders meanwhile.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *folders, name = path.relative_to(root).parts
        for part in folders:
            inner = os.open(part, _OPEN_FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(name, _OPEN_FILE, dir_fd=folder)
    finally:
        os.close(folder)


def _require_regular(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise PermanentError(ErrorCode.NOT_A_FILE, f"{str(path)!r} is {kind}; name an image file")


def _require_at_most(size: int, max_bytes: int, path: Path) -> None:
    if size > max_bytes:
        raise PermanentError(
            ErrorCode.TOO_MANY_BYTES,
            f"{str(path)!r} is larger than SUSY_MAX_BYTES ({max_bytes} bytes); make it smaller, or raise the limit",
        )


def _translated(error: OSError, path: Path) -> SusyError:
    """The one place where the operating system's errors become ours."""
    name = repr(str(path))
    if error.errno in _MISSING:
        return PermanentError(ErrorCode.NOT_FOUND, f"{name} does not exist; was it moved or deleted?")
    if error.errno in _FORBIDDEN:
        return PermanentError(ErrorCode.UNREADABLE, f"{name} may not be read; give the worker's user permission")
    if error.errno in _NO_FILE:
        return PermanentError(ErrorCode.NOT_A_FILE, f"{name} is not a regular file; name an image file")
    if error.errno == errno.ELOOP:
        return PermanentError(ErrorCode.OUTSIDE_ROOTS, f"{name} became a link while it was read; name the file itself")
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return TransientError(
        ErrorCode.UNREADABLE, f"{name} could not be read just now ({reason}); check the disk or the mount"
    )
