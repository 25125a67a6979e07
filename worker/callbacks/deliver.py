"""The deliverer: hands events to endpoints, claims what is due, sends it, and records the outcome.

Any number may run. One thread talks to the ledger, in rounds; each endpoint has threads that send. New events are
noticed by asking every 0.2 s: `NOTIFY` would make all transactions that end checks commit one after the other.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from worker.callbacks.attempt import Outcome
from worker.callbacks.sender import EndpointSender, Results, client_of
from worker.errors import SetupError, SusyError
from worker.log import get_logger
from worker.queue.retry import Outage, backoff, retry_while_unavailable
from worker.safe_http.client import SafeClient
from worker.settings import Settings
from worker.store.callbacks import CallbackStore, Endpoint
from worker.store.migrate import require_current

log = get_logger(__name__)

POLL_INTERVAL = 0.2
"""Seconds between two looks for new events while nothing is sent."""
ROUND_INTERVAL = 0.02
"""Seconds between two rounds while something is sent, so that each claims and records several at once."""
REFRESH_INTERVAL = 1.0
"""Seconds after which endpoints and their keys are read again."""
PURGE_INTERVAL = 60.0
"""Seconds between two looks for deliveries to delete."""
PURGED_AT_ONCE = 1000
LEASE_MARGIN = 10.0
"""Seconds that a lease is longer than two requests may take."""


def deliver_forever(settings: Settings, stopped: threading.Event) -> None:
    """Deliver until `stopped`, waiting for Postgres while it is unavailable."""
    retry_while_unavailable(require_current, settings.require_database_url())
    with CallbackStore(settings.require_database_url()) as store:
        Deliverer(store, settings).run(stopped)


class Deliverer:
    """One process's part in delivering. `client` opens the connections to an endpoint, in tests with a fault."""

    def __init__(
        self, store: CallbackStore, settings: Settings, *, client: Callable[[Endpoint], SafeClient] | None = None
    ) -> None:
        self._store = store
        self._settings = settings
        self._client = client or partial(client_of, ca_file=settings.ca_file)
        self._lease = 2 * settings.callback_timeout + LEASE_MARGIN
        self._senders: dict[int, EndpointSender] = {}
        self._disabled: set[int] = set()
        self._results: Results = queue.SimpleQueue()
        self._unrecorded: list[tuple[EndpointSender, Outcome]] = []
        self._refreshed_at = self._purged_at = float("-inf")
        self._outage = Outage()

    def run(self, stopped: threading.Event) -> None:
        """Deliver until `stopped`; then let requests end that were sent, and record them."""
        failures = 0
        while not stopped.is_set():
            try:
                is_busy = self.round()
            except SetupError:
                raise
            except SusyError as error:
                failures += 1
                self._outage.began(error)
                stopped.wait(backoff(failures, first=0.2, longest=5.0))
                continue
            failures = 0
            self._outage.ended()
            stopped.wait(ROUND_INTERVAL if is_busy else POLL_INTERVAL)
        self.close()

    def round(self) -> bool:
        """Record, look for what is new, claim and begin to send; whether anything was or is being done."""
        self._refresh()
        recorded = self._record()
        self._store.number_events()
        slots = {
            endpoint_id: sender.slots
            for endpoint_id, sender in self._senders.items()
            if endpoint_id not in self._disabled and sender.slots
        }
        claimed = self._store.claim(slots, lease=self._lease) if slots else []
        by_endpoint = defaultdict(list)
        for delivery in claimed:
            by_endpoint[delivery.endpoint_id].append(delivery)
        for endpoint_id, deliveries in by_endpoint.items():
            self._senders[endpoint_id].send(deliveries, within=self._lease)
        self._purge()
        return bool(recorded or claimed)

    def close(self) -> None:
        """Begin no further request, wait for those that run, and record what is known."""
        for sender in self._senders.values():
            sender.stop()
        until = time.monotonic() + self._settings.callback_timeout + 1
        while any(sender.in_flight for sender in self._senders.values()) and time.monotonic() < until:
            time.sleep(0.02)
            try:
                self._record()
            except SusyError as error:  # the leases run out, and another deliverer sends these again
                self._outage.began(error)
        for sender in self._senders.values():
            sender.close()

    def _refresh(self) -> None:
        if time.monotonic() - self._refreshed_at < REFRESH_INTERVAL:
            return
        self._disabled.clear()
        for endpoint in self._store.endpoints():
            if endpoint.disabled_at is not None or not endpoint.keys:
                self._disabled.add(endpoint.id)
            if endpoint.id in self._senders:
                self._senders[endpoint.id].endpoint = endpoint
            elif endpoint.id not in self._disabled:
                self._senders[endpoint.id] = EndpointSender(
                    endpoint,
                    self._results,
                    concurrency=self._settings.callback_concurrency,
                    timeout=self._settings.callback_timeout,
                    public_url=self._settings.public_url,
                    client=self._client,
                )
        self._refreshed_at = time.monotonic()

    def _record(self) -> int:
        """Write the outcomes that have come in; how many. Those that could not be written are kept."""
        while True:
            try:
                sender, outcome = self._results.get_nowait()
            except queue.Empty:
                break
            sender.in_flight -= 1
            self._unrecorded.append((sender, outcome))
        outcomes = self._unrecorded
        if not outcomes:
            return 0
        recorded = self._store.record([outcome.attempted for _, outcome in outcomes])
        if recorded < len(outcomes):
            log.warning("callback_leases_lost", count=len(outcomes) - recorded)
        self._unrecorded = []
        of_endpoint: defaultdict[EndpointSender, list[Outcome]] = defaultdict(list)
        for sender, outcome in outcomes:
            of_endpoint[sender].append(outcome)
        for sender, its_outcomes in of_endpoint.items():
            self._note(sender, its_outcomes)
        return len(outcomes)

    def _note(self, sender: EndpointSender, outcomes: list[Outcome]) -> None:
        """Write what the outcomes, in the order in which they came in, say of their endpoint."""
        endpoint = sender.endpoint
        if any(outcome.is_gone for outcome in outcomes):
            if self._store.disable(endpoint.id, "it answered 410: it wants no callbacks any more"):
                log.warning("endpoint_disabled", endpoint=endpoint.name, reason="410")
            self._disabled.add(endpoint.id)
        health = [outcome for outcome in outcomes if outcome.is_healthy is not None]
        latest = next((i for i, outcome in enumerate(reversed(health)) if outcome.is_healthy), len(health))
        failed = health[len(health) - latest :]
        if len(failed) < len(health) and (sender.has_failed or endpoint.failures):
            self._store.note_success(endpoint.id)
            sender.has_failed = False
            if not failed:
                log.info("endpoint_answers", endpoint=endpoint.name)
        if failed:
            requested = max((outcome.requested for outcome in failed if outcome.requested is not None), default=None)
            self._store.note_failures(endpoint.id, len(failed), requested=requested)
            if not sender.has_failed:
                attempted = failed[0].attempted
                log.warning(
                    "callback_failed",
                    endpoint=endpoint.name,
                    check_id=str(attempted.delivery.event.check_id),
                    code=attempted.code,
                    error=attempted.message,
                )
            sender.has_failed = True

    def _purge(self) -> None:
        """Delete old deliveries, a bounded number per round until none is left."""
        if time.monotonic() - self._purged_at < PURGE_INTERVAL:
            return
        if self._store.purge(age=self._settings.callback_retention, limit=PURGED_AT_ONCE) < PURGED_AT_ONCE:
            self._purged_at = time.monotonic()
