"""For upload hooks: submit an image from Python. Imports no torch and needs no running worker.

from susy_worker import submit

receipt = submit(source="avatars", external_id="upload-1", uri="/images/1.jpg")
"""

from __future__ import annotations

import atexit
import functools
import os
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

from pydantic import ValidationError

from schema.messages import Submission
from schema.states import Decision, Lane
from worker.errors import ErrorCode, PermanentError
from worker.queue.publisher import Publisher, submit_check
from worker.settings import Settings, load_settings
from worker.store import Receipt, Store
from worker.validation import describe_invalid

__all__ = ["Client", "Receipt", "submit"]

REDIS_ANSWER_WITHIN = 2.0
"""Seconds that Redis may take to answer before a check is left to the reconciler, so that uploads do not wait."""


class Client:
    """Submits images; thread-safe. Keep one per process, and close it or use it in a `with` block."""

    def __init__(self, settings: Settings | None = None, *, pool_size: int = 4) -> None:
        settings = settings or load_settings()
        self._process_id = os.getpid()
        self._publisher = Publisher(settings, answer_within=REDIS_ANSWER_WITHIN)
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
        endpoint: str | None = None,
        expires_at: datetime | None = None,
        expires_in: float | None = None,
    ) -> Receipt:
        """Submit one image. Once this returns, the check is in Postgres and cannot be lost; Redis may be unavailable.

        With an `external_id` (the platform's id of the upload) the call is safe to repeat: the same
        `(source, external_id)` is accepted once, and `created` is False for a repeat.

        With a deadline, the check ends as `expired`, unexamined, if no worker has begun it by then: `expires_at` is a
        time with its time zone, `expires_in` seconds from now by this machine's clock. Give one of them.

        Raises `PermanentError` (`invalid_message` for an invalid argument, `conflict` when the `external_id` was used
        for another image, `unknown_endpoint`) and `TransientError` (`database_unavailable`, within 10 s).
        """
        try:
            submission = Submission(
                source=source,
                uri=uri,
                external_id=external_id,
                lane=Lane(lane),
                policy=policy,
                attributes=attributes or {},
                endpoint=endpoint,
                expires_at=_deadline(expires_at, expires_in),
            )
        except ValidationError as error:
            raise PermanentError(ErrorCode.INVALID_MESSAGE, describe_invalid(error)) from error
        except (ValueError, OverflowError) as error:
            raise PermanentError(ErrorCode.INVALID_MESSAGE, str(error)) from error
        return submit_check(submission, self._store, self._publisher)

    def add_review(self, check_id: UUID, *, reviewer: str, decision: Decision | str, note: str | None = None) -> None:
        """Store what a person decided about a check; reviews are only added.

        Raises `PermanentError` (`invalid_message`, `unknown_check`) and `TransientError` (`database_unavailable`).
        """
        try:
            parsed = Decision(decision)
        except ValueError as error:
            raise PermanentError(ErrorCode.INVALID_MESSAGE, str(error)) from error
        self._store.add_review(check_id, reviewer=reviewer, decision=parsed, note=note)

    def close(self) -> None:
        """Close the connections. In a process forked from the one that made the client this does nothing."""
        if os.getpid() == self._process_id:
            self._store.close()
            self._publisher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _deadline(expires_at: datetime | None, expires_in: float | None) -> datetime | None:
    if expires_in is None:
        return expires_at
    if expires_at is not None:
        raise ValueError("expires_at and expires_in are both given; give one of them")
    return datetime.now(UTC) + timedelta(seconds=expires_in)


def submit(**submission: Any) -> Receipt:
    """`Client.submit` of one client per process, which the first call makes from the `SUSY_…` variables."""
    return _process_client(os.getpid()).submit(**submission)


@functools.cache
def _process_client(_process_id: int) -> Client:
    """A forked process makes a client of its own: connections cannot be shared."""
    client = Client()
    atexit.register(client.close)
    return client
