"""For upload hooks: submit an image from Python. Needs neither torch nor a running worker.

from worker.client import submit

receipt = submit(source="avatars", external_id="upload-1", uri="/images/1.jpg")
"""

from __future__ import annotations

import atexit
import functools
from typing import Any, Self

from pydantic import ValidationError

from schema.messages import Submission
from schema.states import Lane
from worker.errors import ErrorCode, PermanentError
from worker.queue.publisher import Publisher
from worker.queue.submission import accept
from worker.settings import Settings, load_settings
from worker.store import Receipt, Store

__all__ = ["Client", "Receipt", "submit"]


class Client:
    """Submits images; thread-safe. Keep one a process, and close it, or use it in a `with` block."""

    def __init__(self, settings: Settings | None = None, *, pool_size: int = 4) -> None:
        settings = settings or load_settings()
        self._publisher = Publisher(settings)
        self._store = Store(settings.require_database_url(), pool_size=pool_size)

    def submit(
        self,
        *,
        source: str,
        uri: str,
        external_id: str | None = None,
        lane: Lane | str = Lane.LIVE,
        policy: str | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> Receipt:
        """Accept one image. Once this returns, the check is in Postgres and will not be lost.

        With an `external_id` (the platform's id of the upload) it is safe to call again: the same
        `(source, external_id)` is accepted once, and `created` is False for a repeat. Redis may be away.

        Raises `PermanentError` (`invalid_message` for an argument out of form, `conflict` when the
        `external_id` was used for another image) and `TransientError` (`database_unavailable`, within 10 s).
        """
        try:
            submission = Submission(
                source=source,
                uri=uri,
                external_id=external_id,
                lane=Lane(lane),
                policy=policy,
                attributes=attributes or {},
            )
        except ValueError as error:
            raise PermanentError(ErrorCode.INVALID_MESSAGE, _problems(error)) from error
        return accept(submission, self._store, self._publisher)

    def close(self) -> None:
        self._store.close()
        self._publisher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def submit(**submission: Any) -> Receipt:
    """`Client.submit` through one client for the process, made at the first call from `SUSY_…` variables."""
    return _process_client().submit(**submission)


@functools.cache
def _process_client() -> Client:
    client = Client()
    atexit.register(client.close)
    return client


def _problems(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
    return str(error)
