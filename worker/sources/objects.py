"""Images in object stores: `s3://bucket/key` of any S3-compatible store, `gs://bucket/key`, `az://container/key`.

A key is written as it is, as the stores' own command lines do: nothing in it is percent-decoded. Endpoints and
credentials come from the variables that the stores' own tools read (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …,
`GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, …) or from the machine's metadata, by the library
obstore. They are in no message and no log.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from worker.errors import ErrorCode, PermanentError, SusyError, TransientError
from worker.extras import require_extra
from worker.object_location import BucketRule, Location
from worker.settings import Settings
from worker.sources.fetched import Fetched, Received, named
from worker.sources.statuses import status_error

if TYPE_CHECKING:
    from obstore.store import ObjectStore

STORES = {"s3": ("S3Store", "AWS"), "gs": ("GCSStore", "GOOGLE"), "az": ("AzureStore", "AZURE")}
"""Scheme → obstore's class, and the prefix of its variables."""
CONNECT_WITHIN = 10.0
"""Seconds."""
CHUNK = 1 << 20
"""Bytes that are taken from the library at once."""

_STATUS = re.compile(r"status code: (\d{3})")
_STORE_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")


def locate_object(uri: str, settings: Settings) -> Location:
    """The object that `uri` names, if it is in a bucket that may be read. Connects to nothing.

    Raises `PermanentError` (`unsupported_source`, `key_unsupported`, `bucket_refused`).
    """
    location = Location.parse(uri)
    if not any(rule.allows(location) for rule in settings.buckets):
        raise PermanentError(
            ErrorCode.BUCKET_REFUSED,
            f"{location} is in none of SUSY_BUCKETS; list its bucket, or the prefix that holds images",
        )
    return location


class ObjectReader:
    """Reads objects; thread-safe. Needs the extra `objects` if the settings allow any bucket."""

    def __init__(self, settings: Settings) -> None:
        if settings.buckets:
            require_extra("objects", what="SUSY_BUCKETS")
        self._settings = settings
        self._stores = Stores(settings)

    def read(self, uri: str, received: Received, *, version_id: str | None = None) -> Fetched:
        """The object that `uri` names: the version `version_id`, or the present one.

        Raises `PermanentError` (as `locate_object`; `not_found`, `access_denied`, `too_many_bytes`,
        `unexpected_status`), `TransientError` (`remote_timeout`, `remote_unavailable`).
        """
        location = locate_object(uri, self._settings)
        import obstore

        end = time.monotonic() + self._settings.fetch_timeout
        with translated(location, self._settings.fetch_timeout):
            store = self._stores.of(location.scheme, location.bucket)
            result = obstore.get(store, location.key, options={"version": version_id} if version_id else None)
            self._require_at_most(result.meta["size"], location)
            parts, size = [], 0
            for chunk in result.stream(min_chunk_size=CHUNK):
                received(len(chunk))
                size += len(chunk)
                self._require_at_most(size, location)
                parts.append(chunk)
                if time.monotonic() > end:
                    raise timed_out(location, self._settings.fetch_timeout)
            meta = result.meta
        return Fetched(b"".join(parts), named(meta["e_tag"]), meta["version"])

    def _require_at_most(self, size: int, location: Location) -> None:
        if size > self._settings.max_bytes:
            raise PermanentError(
                ErrorCode.TOO_MANY_BYTES,
                f"{location} is larger than SUSY_MAX_BYTES ({self._settings.max_bytes} bytes); make it smaller, or "
                "raise the limit",
            )


def probe(rule: BucketRule, stores: Stores, settings: Settings) -> str:
    """Whether a bucket can be read, found out by an object that does not exist.

    Raises as reading does, but for that object.
    """
    import obstore

    require_extra("objects", what="SUSY_BUCKETS")
    key = f"{rule.prefix}susy-doctor-{secrets.token_hex(8)}"
    try:
        with translated(rule, settings.fetch_timeout):
            obstore.get(stores.of(rule.scheme, rule.bucket), key)  # not head, whose answer does not say what is missing
    except SusyError as error:
        if error.code is not ErrorCode.NOT_FOUND or "NoSuchBucket" in error.message:
            raise
    return "reachable"


class Stores:
    """obstore's stores, one per bucket; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stores: dict[tuple[str, str], ObjectStore] = {}
        self._lock = threading.Lock()

    def of(self, scheme: str, bucket: str) -> ObjectStore:
        """The store of a bucket. Raises obstore's errors for variables that it cannot use."""
        with self._lock:
            if (scheme, bucket) not in self._stores:
                self._stores[scheme, bucket] = self._made(scheme, bucket)
            return self._stores[scheme, bucket]

    def _made(self, scheme: str, bucket: str) -> ObjectStore:
        import obstore.store

        name, prefix = STORES[scheme]
        options: dict[str, Any] = {
            "timeout": timedelta(seconds=self._settings.fetch_timeout),
            "connect_timeout": timedelta(seconds=min(CONNECT_WITHIN, self._settings.fetch_timeout)),
            # Given options take the place of those that the library would read from variables.
            "allow_http": os.environ.get(f"{prefix}_ALLOW_HTTP", "").lower() in ("true", "1"),
        }
        if self._settings.ca_file is not None:
            options["root_certificate"] = self._settings.ca_file.read_bytes()
        # Attempts are repeated by the queue, which knows how long a check may still wait.
        store: ObjectStore = getattr(obstore.store, name)(
            bucket, client_options=options, retry_config={"max_retries": 0}
        )
        return store


@contextmanager
def translated(location: Location | BucketRule, timeout: float) -> Iterator[None]:
    """The one place where obstore's errors become ours.

    Its messages are long, and repeat the endpoint and the store's whole answer; only the status and the store's own
    code of the error are taken from them.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except SusyError:
        raise
    except (BaseError, OSError, ValueError) as error:
        raise _error(error, location, timeout) from None


def _error(error: Exception, location: Location | BucketRule, timeout: float) -> SusyError:
    text = str(error)
    status = _status(error, text)
    code = found[1] if (found := _STORE_CODE.search(text)) else ""
    if status is not None:
        return status_error(
            status, f"the bucket of {location}" if code == "NoSuchBucket" else str(location), detail=code
        )
    if "TimedOut" in text or "timed out" in text:
        return timed_out(location, timeout)
    return TransientError(
        ErrorCode.REMOTE_UNAVAILABLE,
        f"the store of {location} cannot be reached ({type(error).__name__}); check its endpoint and credentials",
    )


def _status(error: Exception, text: str) -> int | None:
    if found := _STATUS.search(text):
        return int(found[1])
    kinds = {"FileNotFoundError": 404, "PermissionDeniedError": 403, "UnauthenticatedError": 401}
    return kinds.get(type(error).__name__)


def timed_out(location: Location | BucketRule, timeout: float) -> TransientError:
    """The store was too slow."""
    return TransientError(ErrorCode.REMOTE_TIMEOUT, f"the store of {location} did not finish within {timeout:g} s")
