"""Every regular file under a folder, found while it is walked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from itertools import count
from pathlib import Path
from urllib.parse import quote_from_bytes

from worker.errors import ErrorCode, InputDataError
from worker.importing.records import Defaults, Record, Reject, bounded_id, submission_of
from worker.intake.sources import uri_of


def walk_folder(
    folder: Path, defaults: Defaults, *, patterns: Sequence[str] = (), besides: Path | None = None
) -> Iterator[Record | Reject]:
    """A record for each file whose name matches a pattern (all, without patterns), but for `besides`.

    In the order in which the disk lists them: sorting would hold a folder's million names in memory, and coming again
    needs no order, because a file's id is its path inside the folder. Links are not followed.
    """
    root = folder.resolve()
    numbers = count(1)
    try:
        waiting = [os.scandir(root)]
    except OSError as error:
        why = f"{str(folder)!r} cannot be listed ({error.strerror}); name a folder that the user who imports may read"
        raise InputDataError(ErrorCode.MANIFEST_INVALID, why) from error
    try:
        while waiting:
            try:
                entry = next(waiting[-1], None)
                if entry is None:
                    waiting.pop().close()
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(os.scandir(entry.path))
                elif entry.is_file(follow_symlinks=False) and _is_wanted(entry, patterns, besides):
                    yield _record(next(numbers), entry.path, root, defaults)
            except OSError as error:
                place = str(error.filename or root)
                reason = f"{place!r} cannot be listed ({error.strerror}); give the user who imports permission"
                yield Reject(next(numbers), str(ErrorCode.UNREADABLE), reason, place)
    finally:
        for listing in waiting:
            listing.close()


def _is_wanted(entry: os.DirEntry[str], patterns: Sequence[str], besides: Path | None) -> bool:
    if besides is not None and entry.name == besides.name and Path(entry.path) == besides:
        return False
    return not patterns or any(fnmatch(entry.name, pattern) for pattern in patterns)


def _record(number: int, path: str, root: Path, defaults: Defaults) -> Record | Reject:
    uri, name = uri_of(path), os.path.relpath(path, root)
    if uri != path:
        name = quote_from_bytes(os.fsencode(name))
    try:
        return Record(number, uri, submission_of({"uri": uri, "external_id": bounded_id(name)}, defaults))
    except ValueError as error:
        return Reject(number, str(ErrorCode.INVALID_MESSAGE), str(error), uri)
