"""The heartbeat: renews the leases of running attempts, and ends a process that is stuck."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from worker.errors import ErrorCode, SusyError
from worker.log import get_logger
from worker.queue.retry import ledger_outage
from worker.settings import Settings
from worker.store import Claim, Store

log = get_logger(__name__)

STUCK_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
HANDOFF_TIMEOUT = 10.0
"""Seconds after which a stuck process ends even if Postgres did not take its checks back."""


def _exit_process() -> None:
    # Python cannot stop a thread that is stuck inside the network or a driver; only the process can end.
    os._exit(STUCK_EXIT_CODE)


class TrackedLease:
    """The lease of one attempt in flight, and the clock of its hard deadline. Thread-safe."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.lost = threading.Event()
        """Set once the lease is no longer held: nothing of this attempt can be recorded, and what it still computes is
        wasted."""
        self._started = time.monotonic()  # plus the time it was paused
        self._paused_at: float | None = None
        self._lock = threading.Lock()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Stop the clock while the block waits for a service."""
        since = time.monotonic()
        with self._lock:
            self._paused_at = since
        try:
            yield
        finally:
            with self._lock:
                self._started += time.monotonic() - since
                self._paused_at = None

    def busy(self) -> float:
        """Seconds of work so far."""
        with self._lock:
            return (time.monotonic() if self._paused_at is None else self._paused_at) - self._started


class LeaseHeartbeat:
    """Two threads beside the attempts: one renews the leases of all claims in flight, one watches the hard deadline.

    When an attempt exceeds the deadline, its check is failed so that another worker can try it, the other claims are
    released unharmed, and the process exits, to be restarted by its supervisor. The watching thread never calls
    Postgres, so that it cannot be stuck itself; each time round it touches `SUSY_ALIVE_FILE`.
    """

    def __init__(self, store: Store, settings: Settings, exit_process: Callable[[], None] = _exit_process) -> None:
        self._store = store
        self._settings = settings
        self._exit_process = exit_process
        self._tracked: dict[UUID, TrackedLease] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._touch_failed = False
        self._threads = [
            threading.Thread(target=self._renew, name="lease-renewal", daemon=True),
            threading.Thread(target=self._watch, name="deadline-watch", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def track(self, claim: Claim) -> Iterator[TrackedLease]:
        """Renew the lease of `claim`, and watch its deadline, while the block runs."""
        tracked = TrackedLease(claim)
        with self._lock:
            self._tracked[claim.lease_token] = tracked
        try:
            yield tracked
        finally:
            with self._lock:
                del self._tracked[claim.lease_token]

    def release_all(self) -> None:
        """Release every claim in flight as if it had not been made. What still runs can no longer write."""
        for tracked in self._in_flight():
            if self._store.release(tracked.claim):
                log.info("check_released", check_id=str(tracked.claim.check_id))
            tracked.lost.set()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _in_flight(self) -> list[TrackedLease]:
        with self._lock:
            return list(self._tracked.values())

    def _renew(self) -> None:
        failed = False
        while not self._stopped.wait(self._settings.heartbeat_interval):
            in_flight = self._in_flight()
            if not in_flight:
                continue
            try:
                held = self._store.renew([tracked.claim for tracked in in_flight], self._settings.lease_duration)
            except SusyError as error:
                # The leases last a while longer; the next renewal may reach Postgres again.
                ledger_outage.began(error)
                failed = True
            else:
                if failed:
                    ledger_outage.ended()
                failed = False
                for tracked in in_flight:
                    if tracked.claim.lease_token not in held:
                        tracked.lost.set()

    def _watch(self) -> None:
        while not self._stopped.wait(min(self._settings.heartbeat_interval, self._settings.hard_deadline / 2)):
            self._touch_alive_file()
            deadline = self._settings.hard_deadline
            stuck = [tracked.claim for tracked in self._in_flight() if tracked.busy() > deadline]
            if stuck:
                handoff = threading.Thread(target=self._hand_off, args=(stuck,), name="deadline-handoff", daemon=True)
                handoff.start()
                handoff.join(HANDOFF_TIMEOUT)
                self._exit_process()
                return

    def _touch_alive_file(self) -> None:
        """Where that fails, `susy health alive` does too; the deadline is watched nevertheless."""
        path = self._settings.alive_file
        if path is None:
            return
        try:
            path.touch()
        except OSError as error:
            if not self._touch_failed:
                log.warning("alive_file_failed", path=str(path), error=error.strerror or type(error).__name__)
            self._touch_failed = True
        else:
            self._touch_failed = False

    def _hand_off(self, stuck: list[Claim]) -> None:
        message = f"the attempt took longer than SUSY_HARD_DEADLINE ({self._settings.hard_deadline:g} s)"
        try:
            for claim in stuck:
                log.error("attempt_stuck", check_id=str(claim.check_id), error=message)
                last = claim.attempt >= self._settings.max_attempts
                self._store.fail(
                    claim, code=ErrorCode.DEADLINE_EXCEEDED, message=message, retry_in=None if last else 0.0
                )
            self.release_all()  # leaves the stuck checks as they are: their leases are no longer held
        except SusyError as error:
            # The leases expire, and the reconciler reclaims the checks.
            ledger_outage.began(error)
