"""The client: one class for both ways, and one function for hooks that keep nothing."""

from __future__ import annotations

import atexit
import functools
import os
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, Self
from uuid import UUID

from pydantic import ValidationError

from schema.gate import GateResult
from schema.messages import Receipt, Submission
from schema.states import Decision, Lane
from worker.client.http import TIMEOUT, ServiceConnection
from worker.errors import ConfigurationError, ErrorCode, PermanentError
from worker.service_url import EXAMPLE, service_url
from worker.validation import describe_invalid

if TYPE_CHECKING:
    from worker.client.direct import LedgerConnection
    from worker.settings import Settings

URL, API_KEY = "SUSY_URL", "SUSY_API_KEY"


class Client:
    """Submits images; thread-safe. Keep one per process, and close it or use it in a `with` block.

    With `SUSY_URL` it sends requests to a `susy serve`, with the key of `SUSY_API_KEY`; otherwise it connects to
    Postgres and Redis by `SUSY_DATABASE_URL` and `SUSY_REDIS_URL`. The methods and their errors are the same.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        url: str | None = None,
        api_key: str | None = None,
        pool_size: int = 4,
        timeout: float = TIMEOUT,
    ) -> None:
        """`url` and `api_key` are used instead of those of the settings.

        `pool_size` is how many connections are kept open; `timeout` is how many seconds a call over HTTP may take, all
        its attempts together. Raises `ConfigurationError` when an address or the key is missing or invalid.
        """
        if settings is None and not url:
            url, api_key = os.environ.get(URL), api_key or os.environ.get(API_KEY)
        if not url:
            from worker.settings import load_settings

            settings = settings or load_settings()
            url, api_key = settings.url, api_key or settings.api_key
        self._way: ServiceConnection | LedgerConnection
        if url:
            self._way = _service(url, api_key, pool_size=pool_size, timeout=timeout)
        else:
            from worker.client.direct import LedgerConnection

            assert settings is not None
            self._way = LedgerConnection(settings, pool_size=pool_size)

    def submit(
        self,
        *,
        source: str,
        uri: str,
        external_id: str | None = None,
        lane: Lane | str = Lane.LIVE,
        policy: str | None = None,
        attributes: dict[str, Any] | None = None,
        endpoint: str | None = None,
        etag: str | None = None,
        version_id: str | None = None,
        expires_at: datetime | None = None,
        expires_in: float | None = None,
    ) -> Receipt:
        """Submit one image. Once this returns, the check is in Postgres and cannot be lost; Redis may be unavailable.

        With an `external_id` (the platform's id of the upload) the call is safe to repeat: the same
        `(source, external_id)` is accepted once, and `created` is False for a repeat.

        `etag` and `version_id` say which version of an object was uploaded: that version is examined where the bucket
        keeps versions, and elsewhere the check tells whether the object has changed.

        With a deadline, the check ends as `expired`, unexamined, if no worker has begun it by then: `expires_at` is a
        time with its time zone, `expires_in` seconds from now by this machine's clock. Give one of them.

        Raises `PermanentError` (`invalid_message` for an invalid argument, `conflict` when the `external_id` was used
        for another image, `unknown_endpoint`) and `TransientError` (`database_unavailable`, within 10 s; over HTTP
        `service_unavailable`, within `timeout`).
        """
        submission = _submission(
            source=source, uri=uri, external_id=external_id, lane=lane, policy=policy, attributes=attributes,
            endpoint=endpoint, etag=etag, version_id=version_id, expires_at=expires_at, expires_in=expires_in,
        )  # fmt: skip
        return self._way.submit(submission)

    def upload(
        self,
        image: bytes | IO[bytes],
        *,
        source: str,
        external_id: str | None = None,
        lane: Lane | str = Lane.LIVE,
        policy: str | None = None,
        attributes: dict[str, Any] | None = None,
        endpoint: str | None = None,
        expires_at: datetime | None = None,
        expires_in: float | None = None,
        content_type: str = "application/octet-stream",
    ) -> Receipt:
        """Send the image itself, to be stored by the service and checked; for platforms without a shared storage.

        Only over HTTP. `image` is bytes or a file opened for reading bytes, which is read from where it stands. Raises
        as `submit` does, and `PermanentError` (`too_large`, `disk_full`).
        """
        fields = _submission(
            source=source, uri="-", external_id=external_id, lane=lane, policy=policy, attributes=attributes,
            endpoint=endpoint, expires_at=expires_at, expires_in=expires_in,
        )  # fmt: skip
        return self._over_http("upload").upload(image, fields, content_type)

    def gate(
        self,
        image: bytes | IO[bytes] | None = None,
        *,
        source: str,
        uri: str | None = None,
        within: float | None = None,
        external_id: str | None = None,
        lane: Lane | str = Lane.LIVE,
        policy: str | None = None,
        attributes: dict[str, Any] | None = None,
        endpoint: str | None = None,
        content_type: str = "application/octet-stream",
    ) -> GateResult:
        """Ask whether an image may be published: `allow`, `hold` or `refuse`, after at most `within` seconds.

        Only over HTTP. Give the image or its `uri`. Without a verdict in time, the answer is what the service's gate
        file says of the source (`docs/gate.md`); the check continues, and its verdict is called back. Without `within`,
        the deadline is the source's. Raises as `submit` does: then the image was not accepted.
        """
        if (image is None) == (uri is None):
            raise PermanentError(ErrorCode.INVALID_MESSAGE, "give either an image or a uri")
        fields = _submission(
            source=source, uri=uri or "-", external_id=external_id, lane=lane, policy=policy, attributes=attributes,
            endpoint=endpoint,
        )  # fmt: skip
        return self._over_http("gate").gate(image, fields, content_type, within)

    def add_review(self, check_id: UUID, *, reviewer: str, decision: Decision | str, note: str | None = None) -> None:
        """Store what a person decided about a check; reviews are only added.

        Raises `PermanentError` (`invalid_message`, `unknown_check`) and `TransientError` (`database_unavailable`).
        """
        try:
            parsed = Decision(decision)
        except ValueError as error:
            raise PermanentError(ErrorCode.INVALID_MESSAGE, str(error)) from error
        self._way.add_review(check_id, reviewer, parsed, note)

    def close(self) -> None:
        """Close the connections. In a process forked from the one that made the client this does nothing."""
        self._way.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _over_http(self, method: str) -> ServiceConnection:
        if not isinstance(self._way, ServiceConnection):
            raise ConfigurationError(
                ErrorCode.SETTINGS, f"{method} needs the HTTP service; set {URL} (such as {EXAMPLE}) and {API_KEY}"
            )
        return self._way


def submit(**submission: Any) -> Receipt:
    """`Client.submit` of one client per process, which the first call makes from the `SUSY_…` variables."""
    return process_client().submit(**submission)


def process_client() -> Client:
    """The client of this process. A forked process makes one of its own: connections cannot be shared."""
    return _process_client(os.getpid())


@functools.cache
def _process_client(_process_id: int) -> Client:
    client = Client()
    atexit.register(client.close)
    return client


def _service(url: str, api_key: str | None, *, pool_size: int, timeout: float) -> ServiceConnection:
    try:
        address = service_url(url)
    except ValueError as error:
        raise ConfigurationError(ErrorCode.SETTINGS, f"{URL}: {error}") from None
    if not api_key:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{API_KEY} is not set; set it to a key that `susy key create` printed"
        )
    if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise ConfigurationError(ErrorCode.SETTINGS, f"{API_KEY} is not a key that `susy key create` printed")
    return ServiceConnection(address, api_key, pool_size=pool_size, timeout=timeout)


def _submission(
    *,
    lane: Lane | str,
    attributes: dict[str, Any] | None,
    expires_at: datetime | None = None,
    expires_in: float | None = None,
    **fields: Any,
) -> Submission:
    try:
        return Submission(
            lane=Lane(lane), attributes=attributes or {}, expires_at=_deadline(expires_at, expires_in), **fields
        )
    except ValidationError as error:
        raise PermanentError(ErrorCode.INVALID_MESSAGE, describe_invalid(error)) from error
    except (ValueError, OverflowError) as error:
        raise PermanentError(ErrorCode.INVALID_MESSAGE, str(error)) from error


def _deadline(expires_at: datetime | None, expires_in: float | None) -> datetime | None:
    if expires_in is None:
        return expires_at
    if expires_at is not None:
        raise ValueError("expires_at and expires_in are both given; give one of them")
    return datetime.now(UTC) + timedelta(seconds=expires_in)
