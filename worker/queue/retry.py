"""Waiting for a service that is unavailable: one backoff, one log line per outage, and a store that retries."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar
from uuid import UUID

from schema.examination import Examination, StoredScan
from schema.scan import ModelIdentity, Tiling
from worker.errors import ErrorCode, SetupError, SusyError, TransientError
from worker.log import get_logger
from worker.settings import Settings
from worker.store import Claim, RecordOutcome, Store

log = get_logger(__name__)

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
Pause = Callable[[], AbstractContextManager[None]]

FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
"""Seconds between two calls to an unavailable service, before the jitter of `backoff`."""


def backoff(failures: int, *, first: float, longest: float) -> float:
    """Seconds to wait after the given number of failures (1 or more).

    Doubles from `first` to `longest`, and is multiplied by a random factor of 0.5 to 1.5, so that what failed together
    does not return together.
    """
    doubled: float = min(longest, first * 2.0 ** min(failures - 1, 64))
    return doubled * random.uniform(0.5, 1.5)  # noqa: S311 (not used for security)


class Outage:
    """Logs one line when a service becomes unavailable and one when it is available again. Thread-safe."""

    def __init__(self) -> None:
        self._codes: set[ErrorCode] = set()
        self._lock = threading.Lock()

    def began(self, error: SusyError) -> None:
        """Note a failed call; the first one with this code is logged."""
        with self._lock:
            if error.code in self._codes:
                return
            self._codes.add(error.code)
        log.warning("service_unavailable", code=str(error.code), error=error.message)

    def ended(self) -> None:
        """Note a successful call after one that failed."""
        with self._lock:
            codes = sorted(map(str, self._codes))
            self._codes.clear()
        if codes:
            log.info("service_available", codes=codes)


ledger_outage = Outage()
"""The ledger's outage as this process sees it, whichever thread notices first."""


def retry_while_unavailable(
    call: Callable[Parameters, Answer], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Answer:
    """The answer of `call`, which is repeated while it raises `TransientError`, with 0.25 to 15 s between two calls."""
    return _retry((TransientError,), call, *args, **kwargs)


def retry_while_unusable(
    call: Callable[Parameters, Answer], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Answer:
    """The same for a worker that is running, and for `SetupError` too.

    A privilege that was revoked, or a table that is being replaced, is not the fault of a check or a message, and is
    repaired while the worker waits. Calls that a lease token guards are safe to repeat: once another worker holds the
    check they change nothing. A process that is told to stop while it waits here ends when its grace period is over
    (`worker.queue.shutdown`).
    """
    return _retry((TransientError, SetupError), call, *args, **kwargs)


def _retry(
    repeated: tuple[type[SusyError], ...],
    call: Callable[Parameters, Answer],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Answer:
    failures = 0
    while True:
        try:
            answer = call(*args, **kwargs)
        except repeated as error:
            ledger_outage.began(error)
            failures += 1
            time.sleep(backoff(failures, first=FIRST_WAIT, longest=LONGEST_WAIT))
        else:
            if failures:
                ledger_outage.ended()
            return answer


class RetryingStore:
    """A worker's calls to the ledger, each repeated while Postgres is unavailable or refuses this worker."""

    def __init__(self, store: Store, settings: Settings, *, worker: str) -> None:
        self._store = store
        self._settings = settings
        self._worker = worker

    def claim(self, check_id: UUID, *, suspects: bool) -> Claim | None:
        """See `Store.claim`."""
        return retry_while_unusable(
            self._store.claim,
            check_id,
            worker=self._worker,
            lease=self._settings.lease_duration,
            max_attempts=self._settings.max_attempts,
            suspects=suspects,
        )

    def is_suspect(self, check_id: UUID) -> bool:
        """See `Store.is_suspect`."""
        return retry_while_unusable(self._store.is_suspect, check_id)

    def expire(self, check_id: UUID) -> bool:
        """See `Store.expire`."""
        return retry_while_unusable(self._store.expire, check_id) > 0

    def of(self, claim: Claim, pause: Pause) -> AttemptStore:
        """The calls of the attempt that `claim` began."""
        return AttemptStore(self._store, claim, pause)


@dataclass(frozen=True)
class AttemptStore:
    """An attempt's calls to the ledger. Waiting for Postgres does not count as being stuck."""

    store: Store
    claim: Claim
    pause: Pause
    """Stops the clock of the attempt's hard deadline."""

    def find_scan(self, content_sha256: str, model: ModelIdentity, tiling: Tiling) -> StoredScan | None:
        """See `Store.find_scan`."""
        with self.pause():
            return retry_while_unusable(self.store.find_scan, content_sha256, model, tiling)

    def record(self, examination: Examination) -> RecordOutcome:
        """See `Store.record`."""
        with self.pause():
            return retry_while_unusable(self.store.record, self.claim, examination)

    def fail(self, error: SusyError, *, retry_in: float | None) -> bool:
        """See `Store.fail`."""
        with self.pause():
            return retry_while_unusable(
                self.store.fail, self.claim, code=error.code, message=error.message, retry_in=retry_in
            )
