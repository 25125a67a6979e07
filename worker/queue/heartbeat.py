"""The heartbeat: keeps the leases of running attempts, and ends a process that is stuck."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from worker.errors import ErrorCode, SusyError
from worker.log import get_logger
from worker.settings import Settings
from worker.store import Claim, Store

log = get_logger(__name__)

STUCK_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
HANDOFF_TIMEOUT = 10.0
"""Seconds a stuck process takes at most to hand its checks on; Postgres may be away."""


def _exit_process() -> None:
    # A thread stuck inside the network or a driver cannot be stopped from Python; only the process can end.
    os._exit(STUCK_EXIT_CODE)


@dataclass
class _Beat:
    """One attempt in flight."""

    claim: Claim
    started: float
    """`time.monotonic()`; later by the time spent waiting for a service, which is nobody's fault here."""
    waits_since: float | None = None

    def busy(self, now: float) -> float:
        """Seconds of work so far."""
        return (now if self.waits_since is None else self.waits_since) - self.started


class LeaseHeartbeat:
    """Two threads beside the attempts: one renews the leases of every claim in flight, one watches the clock.

    An attempt past the hard deadline is handed back for another worker to try, the neighbours are given back
    unharmed, and the process exits, to be started again by whatever supervises it. The watch never waits for
    Postgres, so that it cannot be stuck itself; while it goes round it touches `SUSY_ALIVE_FILE`.
    """

    def __init__(self, store: Store, settings: Settings, exit_process: Callable[[], None] = _exit_process) -> None:
        self._store = store
        self._settings = settings
        self._exit_process = exit_process
        self._beats: dict[UUID, _Beat] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._renew, name="heartbeat", daemon=True),
            threading.Thread(target=self._watch, name="deadline", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def track(self, claim: Claim) -> Iterator[None]:
        """Renew the lease of `claim` while the block runs."""
        with self._lock:
            self._beats[claim.lease_token] = _Beat(claim, time.monotonic())
        try:
            yield
        finally:
            with self._lock:
                del self._beats[claim.lease_token]

    @contextmanager
    def pause(self, claim: Claim) -> Iterator[None]:
        """Stop the attempt's clock while the block waits for a service."""
        since = time.monotonic()
        with self._lock:
            beat = self._beats[claim.lease_token]
            beat.waits_since = since
        try:
            yield
        finally:
            with self._lock:
                beat.started += time.monotonic() - since
                beat.waits_since = None

    def release_all(self) -> None:
        """Give every claim in flight back as if it had not been claimed. What still runs can write nothing."""
        for claim in self._claims():
            if self._store.release(claim):
                log.info("check_released", check_id=str(claim.check_id))

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _claims(self) -> list[Claim]:
        with self._lock:
            return [beat.claim for beat in self._beats.values()]

    def _renew(self) -> None:
        away = False
        while not self._stopped.wait(self._settings.heartbeat):
            claims = self._claims()
            if not claims:
                continue
            try:
                self._store.renew(claims, self._settings.lease)
                away = False
            except SusyError as error:
                # The leases run on for a while; the next beat may reach the database again.
                if not away:
                    log.warning("heartbeat_missed", code=str(error.code), error=error.message)
                away = True

    def _watch(self) -> None:
        while not self._stopped.wait(min(self._settings.heartbeat, self._settings.hard_deadline / 2)):
            if self._settings.alive_file:
                self._settings.alive_file.touch()
            now = time.monotonic()
            with self._lock:
                stuck = [beat.claim for beat in self._beats.values() if beat.busy(now) > self._settings.hard_deadline]
            if stuck:
                last_words = threading.Thread(target=self._give_up, args=(stuck,), name="last words", daemon=True)
                last_words.start()
                last_words.join(HANDOFF_TIMEOUT)
                self._exit_process()
                return

    def _give_up(self, stuck: list[Claim]) -> None:
        message = f"the attempt took longer than SUSY_HARD_DEADLINE ({self._settings.hard_deadline:g} s)"
        try:
            for claim in stuck:
                log.error("attempt_stuck", check_id=str(claim.check_id), error=message)
                last = claim.attempt >= self._settings.max_attempts
                self._store.fail(
                    claim, code=ErrorCode.DEADLINE_EXCEEDED, message=message, retry_in=None if last else 0.0
                )
            self.release_all()  # the stuck ones are no longer ours, so this leaves them as they are
        except SusyError as error:
            # Their leases run out; the reconciler frees them.
            log.warning("heartbeat_missed", code=str(error.code), error=error.message)
