"""The heartbeat: keeps the leases of running attempts, and ends a process that is stuck."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from worker.errors import ErrorCode, SusyError
from worker.log import get_logger
from worker.settings import Settings
from worker.store import Claim, Store

log = get_logger(__name__)

STUCK_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h


def _exit_process() -> None:
    # A thread stuck inside the network or a driver cannot be stopped from Python; only the process can end.
    os._exit(STUCK_EXIT_CODE)


class Heart:
    """One thread that renews the leases of every claim in flight, until its hard deadline.

    An attempt older than the deadline is handed back for another worker to try, the neighbours are
    given back unharmed, and the process exits, to be started again by whatever supervises it.
    """

    def __init__(self, store: Store, settings: Settings, exit_process: Callable[[], None] = _exit_process) -> None:
        self._store = store
        self._settings = settings
        self._exit_process = exit_process
        self._claims: dict[UUID, tuple[Claim, float]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    @contextmanager
    def beating(self, claim: Claim) -> Iterator[None]:
        """Renew the lease of `claim` while the block runs."""
        with self._lock:
            self._claims[claim.lease_token] = (claim, time.monotonic())
        try:
            yield
        finally:
            with self._lock:
                del self._claims[claim.lease_token]

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stopped.wait(self._settings.heartbeat):
            with self._lock:
                claims = list(self._claims.values())
            started_before = time.monotonic() - self._settings.hard_deadline
            stuck = [claim for claim, started in claims if started < started_before]
            alive = [claim for claim, started in claims if started >= started_before]
            try:
                if stuck:
                    self._give_up(stuck, alive)
                elif alive:
                    self._store.renew_many(alive, self._settings.lease)
            except SusyError as error:
                # The leases run on for a while; the next beat may reach the database again.
                log.warning("heartbeat_missed", code=str(error.code), error=error.message)
            if stuck:
                self._exit_process()

    def _give_up(self, stuck: list[Claim], alive: list[Claim]) -> None:
        for claim in stuck:
            message = f"the attempt took longer than SUSY_HARD_DEADLINE ({self._settings.hard_deadline:g} s)"
            log.error("attempt_stuck", check_id=str(claim.check_id), error=message)
            last = claim.attempt >= self._settings.max_attempts
            self._store.fail(claim, code=ErrorCode.DEADLINE_EXCEEDED, message=message, retry_in=None if last else 0.0)
        for claim in alive:
            self._store.release(claim)
