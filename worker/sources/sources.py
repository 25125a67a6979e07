"""Any source: a URI, read by the reader of its scheme."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from worker.errors import ErrorCode, PermanentError
from worker.object_location import Location
from worker.safe_http.urls import parse_url
from worker.settings import Settings
from worker.sources import files
from worker.sources.fetched import Fetched, Received
from worker.sources.objects import STORES, ObjectReader, locate_object
from worker.sources.urls import SCHEMES, UrlReader, locate_url

if TYPE_CHECKING:
    from worker.safe_http.network import Resolver

_CREDENTIALS = re.compile(r"//[^/]*@")


def locate(uri: str, settings: Settings) -> str:
    """The canonical form of the URI of an image that the settings allow to be read.

    A file must exist; URLs and objects are only checked by their form and the lists of hosts and buckets, and nothing
    is connected to. Raises `PermanentError`, as reading would.
    """
    scheme = files.scheme_of(uri)
    if scheme in STORES:
        return str(locate_object(uri, settings))
    if scheme in SCHEMES:
        return locate_url(uri, settings)
    _require_file(scheme)
    return files.uri_of(files.locate(uri, settings.image_roots))


def require_possible(uri: str, settings: Settings) -> None:
    """Refuse a URI that no worker with these settings could read, before a check is made of it.

    For whoever accepts submissions: files are not looked at, and URLs and buckets only where the settings list any,
    because workers may have other settings. Raises as `locate` does.
    """
    scheme = files.scheme_of(uri)
    if scheme in STORES:
        if settings.buckets:
            locate_object(uri, settings)
        else:
            Location.parse(uri)
    elif scheme in SCHEMES:
        if settings.url_hosts:
            locate_url(uri, settings)
        else:
            parse_url(uri)
    else:
        _require_file(scheme)


def shown(uri: str) -> str:
    """A URI for messages and logs: of a URL without its query, which may carry a signature."""
    if files.scheme_of(uri) not in SCHEMES:
        return uri
    return _CREDENTIALS.sub("//", uri.partition("#")[0].partition("?")[0], count=1)


def _ignore(_size: int) -> None:
    """Nobody counts what arrives."""


class Sources:
    """Reads images from wherever the settings allow; thread-safe. Close it, or use it in a `with` block.

    Raises `ConfigurationError(missing_extra)` when the settings allow what needs a package that is not installed.
    """

    def __init__(self, settings: Settings, *, resolve: Resolver | None = None) -> None:
        self._settings = settings
        self._urls = UrlReader(settings, resolve)
        self._objects = ObjectReader(settings)

    def read(self, uri: str, *, version_id: str | None = None, received: Received = _ignore) -> Fetched:
        """The encoded image that `uri` names, at most `SUSY_MAX_BYTES` long, within `SUSY_FETCH_TIMEOUT`.

        `version_id` is that of an object; None reads the present one. `received` is told of bytes as they arrive.
        Raises `PermanentError` where another attempt cannot help, and `TransientError` where it may.
        """
        scheme = files.scheme_of(uri)
        if scheme in STORES:
            return self._objects.read(uri, received, version_id=version_id)
        if scheme in SCHEMES:
            return self._urls.read(uri, received)
        _require_file(scheme)
        content = files.read(uri, self._settings.image_roots, self._settings.max_bytes)
        received(len(content))
        return Fetched(content)

    def close(self) -> None:
        """Close the open connections."""
        self._urls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _require_file(scheme: str) -> None:
    if scheme not in ("", "file"):
        # The URI itself stays out of the message: it may carry a password or a signature.
        raise PermanentError(
            ErrorCode.UNSUPPORTED_SOURCE,
            f"no reader for {scheme}: sources; give an absolute path, https://…, s3://…, gs://… or az://…",
        )
