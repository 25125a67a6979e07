"""Where uploaded images are stored: a folder or a bucket, in which each lies under the SHA-256 of its content.

An upload is written elsewhere and put into its place when it is complete and wanted, so that no part is ever read
of an image, and nothing is left of what was given up.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from worker.errors import ConfigurationError, ErrorCode, PermanentError, TransientError
from worker.extras import require_extra
from worker.object_location import BucketRule, Location
from worker.settings import Settings
from worker.sources.objects import Stores, translated

if TYPE_CHECKING:
    from obstore.store import ObjectStore

ABANDONED_AFTER = 86_400.0
"""Seconds after which an unfinished upload is one that a killed process left."""
_PART = ".part"


class Upload(Protocol):
    """An image on its way into the storage; for one thread at a time. Nobody finds it there before `keep`.

    Every method raises `PermanentError` (`disk_full`) or `TransientError` (`storage_unavailable`).
    """

    def write(self, piece: bytes) -> None:
        """Add bytes."""

    def finish(self) -> str:
        """End it. Returns the URI that it will have when it is kept, by which workers read it."""

    def keep(self) -> None:
        """Put it in its place, safe from a power failure. An image that is there already has the same content."""

    def discard(self) -> None:
        """Remove it unless it is kept. May be called at any time, and twice."""


class Storage(Protocol):
    """A place for uploaded images; thread-safe."""

    def begin(self) -> Upload:
        """A new upload. Raises as `Upload` does."""


def open_storage(settings: Settings) -> Storage:
    """The storage that `SUSY_STORAGE` names.

    Raises `PermanentError` (`no_storage`) without one, and `ConfigurationError` (`settings`) for one that workers
    could not read.
    """
    if settings.storage is None:
        raise PermanentError(
            ErrorCode.NO_STORAGE, "this service stores no images; set SUSY_STORAGE to a folder or bucket of the workers"
        )
    if "://" in settings.storage:
        rule = BucketRule.parse(settings.storage)
        if not any(readable.allows(_sample(rule)) for readable in settings.buckets):
            raise ConfigurationError(
                ErrorCode.SETTINGS, f"SUSY_STORAGE, {rule}, is in none of SUSY_BUCKETS, and no worker could read it"
            )
        require_extra("objects", what="SUSY_STORAGE")
        return BucketStorage(rule, settings)
    folder = Path(os.path.realpath(settings.storage))
    if not any(folder.is_relative_to(root) for root in settings.image_roots):
        raise ConfigurationError(
            ErrorCode.SETTINGS,
            f"SUSY_STORAGE, {settings.storage!r}, is under none of SUSY_IMAGE_ROOTS: no worker could read it; add it",
        )
    return FolderStorage(folder)


class FolderStorage:
    """A folder that workers can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with _translated(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._remove_abandoned()

    def begin(self) -> FolderUpload:
        """See `Storage`."""
        return FolderUpload(self._folder)

    def _remove_abandoned(self) -> None:
        for path in self._folder.glob(f".*{_PART}"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > ABANDONED_AFTER:
                    path.unlink()


class FolderUpload:
    """A file under a name of its own until it is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f".{secrets.token_hex(16)}{_PART}"
        self._digest = hashlib.sha256()
        self._place: Path | None = None
        with _translated(folder):
            self._file = self._path.open("xb", buffering=0)

    def write(self, piece: bytes) -> None:
        """See `Upload`."""
        self._digest.update(piece)
        rest = memoryview(piece)
        with _translated(self._folder):
            while rest:
                rest = rest[self._file.write(rest) :]

    def finish(self) -> str:
        """See `Upload`."""
        digest = self._digest.hexdigest()
        self._place = self._folder / digest[:2] / digest
        return str(self._place)

    def keep(self) -> None:
        """See `Upload`."""
        place = self._place
        assert place is not None, "finish comes first"
        with _translated(self._folder):
            os.fsync(self._file.fileno())
            self._file.close()
            place.parent.mkdir(exist_ok=True)
            self._path.replace(place)
            for folder in (place.parent, self._folder):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def discard(self) -> None:
        """See `Upload`."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


class BucketStorage:
    """A bucket, or the part of it below a prefix."""

    def __init__(self, rule: BucketRule, settings: Settings) -> None:
        self._rule = rule
        self._stores = Stores(settings)
        self._timeout = settings.fetch_timeout

    def begin(self) -> BucketUpload:
        """See `Storage`."""
        return BucketUpload(self._rule, self._stores, self._timeout)


class BucketUpload:
    """A nameless file on this machine until it is kept: a store takes an object by its name, which is its digest."""

    def __init__(self, rule: BucketRule, stores: Stores, timeout: float) -> None:
        self._rule = rule
        self._stores = stores
        self._timeout = timeout
        self._digest = hashlib.sha256()
        self._folder = Path(tempfile.gettempdir())
        self._location: Location | None = None
        with _translated(self._folder):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `discard`)

    def write(self, piece: bytes) -> None:
        """See `Upload`."""
        self._digest.update(piece)
        with _translated(self._folder):
            self._file.write(piece)

    def finish(self) -> str:
        """See `Upload`."""
        digest = self._digest.hexdigest()
        self._location = Location(self._rule.scheme, self._rule.bucket, f"{self._rule.prefix}{digest[:2]}/{digest}")
        return str(self._location)

    def keep(self) -> None:
        """See `Upload`."""
        import obstore

        location = self._location
        assert location is not None, "finish comes first"
        with _translated(self._folder):
            self._file.seek(0)
        try:
            with translated(location, self._timeout):
                store = self._stores.of(location.scheme, location.bucket)
                if not _exists(store, location.key):
                    # In one request, which takes the image's size of memory: of several, a process that ends between
                    # two of them leaves parts in the bucket, which are not listed and cost money.
                    obstore.put(store, location.key, self._file, use_multipart=False)
        except PermanentError as error:  # the bucket is at fault and not the image
            raise TransientError(
                ErrorCode.STORAGE_UNAVAILABLE, f"the storage refuses images: {error.message}"
            ) from error

    def discard(self) -> None:
        """See `Upload`."""
        self._file.close()


def _exists(store: ObjectStore, key: str) -> bool:
    """Whether the same content was stored before; a bucket that keeps versions would keep it twice."""
    import obstore

    try:
        obstore.head(store, key)
    except FileNotFoundError:
        return False
    return True


def _sample(rule: BucketRule) -> Location:
    """An object that such a storage could hold."""
    return Location(rule.scheme, rule.bucket, f"{rule.prefix}00/{'0' * 64}")


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PermanentError(
                ErrorCode.DISK_FULL, f"the storage {str(folder)!r} is full; make room, and send the image again"
            ) from error
        raise TransientError(
            ErrorCode.STORAGE_UNAVAILABLE, f"the storage {str(folder)!r} cannot be written ({error.strerror}); check it"
        ) from error
