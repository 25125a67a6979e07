"""Sending to one endpoint: a bounded number of requests at once, on threads and connections of its own.

Endpoints share nothing that one of them could use up: a receiver that hangs keeps its own threads waiting.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from worker.callbacks.attempt import Outcome, attempt
from worker.callbacks.registration import access_policy
from worker.safe_http.client import SafeClient
from worker.store.callbacks import FAILURES_TO_OPEN, Attempted, ClaimedDelivery, Endpoint

AHEAD = 4
"""Deliveries that are claimed per thread, so that none waits for the ledger."""

Results = queue.SimpleQueue[tuple["EndpointSender", Outcome]]


class EndpointSender:
    """Sends what is claimed for one endpoint, and puts each outcome into `results`."""

    def __init__(
        self,
        endpoint: Endpoint,
        results: Results,
        *,
        concurrency: int,
        timeout: float,
        public_url: str | None,
        client: Callable[[Endpoint], SafeClient] | None = None,
    ) -> None:
        self.endpoint = endpoint
        """As it was last read; its keys may change."""
        self.in_flight = 0
        """Deliveries that were given to `send` and whose outcome was not taken from `results`. Its owner counts."""
        self.has_failed = False
        """Whether failures were noted in the ledger since the last success."""
        self._capacity = AHEAD * concurrency
        self._timeout = timeout
        self._public_url = public_url
        self._results = results
        self._failures = 0
        self._is_stopping = False
        self._client = (client or client_of)(endpoint)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix=f"deliver-{endpoint.name}")

    @property
    def slots(self) -> int:
        """How many more deliveries it takes; 0 while too few for a claim to be worth it."""
        free = self._capacity - self.in_flight
        return free if free >= self._capacity // 2 else 0

    def send(self, deliveries: Sequence[ClaimedDelivery], *, within: float) -> None:
        """Send these in the order given, each only while it can end in `within` seconds from now."""
        if self.in_flight == 0:
            self._failures = 0
        self.in_flight += len(deliveries)
        start_by = time.monotonic() + within - self._timeout
        for delivery in deliveries:
            self._threads.submit(self._send, delivery, start_by)

    def stop(self) -> None:
        """Begin no further request. What is in flight still has an outcome; that of what was not sent says so."""
        self._is_stopping = True
        self._threads.shutdown(wait=False)

    def close(self) -> None:
        self._client.close()

    def _send(self, delivery: ClaimedDelivery, start_by: float) -> None:
        # After a few failures in sequence the rest of what was claimed is given back as if it had not been claimed.
        is_held_back = self._is_stopping or self._failures >= FAILURES_TO_OPEN or time.monotonic() > start_by
        if is_held_back:
            outcome = Outcome(Attempted(delivery, None, None, retry_in=0.0, is_counted=False), is_healthy=None)
        else:
            outcome = attempt(self._client, self.endpoint, delivery, public_url=self._public_url, timeout=self._timeout)
            if outcome.is_healthy is not None:
                self._failures = 0 if outcome.is_healthy else self._failures + 1
        self._results.put((self, outcome))


def client_of(endpoint: Endpoint, *, ca_file: Path | None = None) -> SafeClient:
    """Opens the connections to an endpoint. `ca_file` is `SUSY_CA_FILE`."""
    return SafeClient(access_policy(endpoint.url, allow_private=endpoint.allow_private, ca_file=ca_file))
