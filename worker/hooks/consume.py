"""Messages from a queue into the ledger. A message leaves its queue when the ledger has what it said.

A `Queue` gives messages and is told which of them are done; `worker.hooks.sqs` and `worker.hooks.stream` are two. A
process that is killed leaves its messages in the queue, which gives them to another one; the ledger recognizes what was
accepted before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from worker.errors import ErrorCode, PermanentError, SusyError, TransientError
from worker.hooks.accept import Outcome, accept
from worker.hooks.counts import Counts
from worker.hooks.events import Message
from worker.hooks.mapping import HooksFile
from worker.hooks.senders.registry import read_any
from worker.log import get_logger
from worker.queue.publisher import Publisher
from worker.queue.retry import FIRST_WAIT, LONGEST_WAIT, Outage, backoff, ledger_outage
from worker.store import Store

log = get_logger(__name__)

REPORT_EVERY = 60.0
"""Seconds between two lines of the log that say what was consumed."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Received:
    """One message of a queue."""

    handle: str
    """By which the queue knows it."""
    body: bytes
    refusal: PermanentError | None = None
    """Why it cannot be read at all."""


class Queue(Protocol):
    """Where messages come from."""

    name: str
    """As it is written into `rejected_messages`, and logged."""

    def receive(self) -> Sequence[Received]:
        """Up to some messages; waits a few seconds for the first one. Raises `TransientError` in an outage."""

    def done(self, messages: Sequence[Received]) -> None:
        """The ledger has these messages: they need not be delivered again. Raises `TransientError` in an outage."""


class _StoppedError(Exception):
    """The consumer is to end, and what it was about to do is not done."""


class Consumer:
    """Takes messages from a queue until it is told to stop. Run one in each thread."""

    def __init__(
        self,
        queue: Queue,
        hooks: HooksFile,
        store: Store,
        publisher: Publisher,
        stopped: threading.Event,
        counts: Counts,
    ) -> None:
        self._queue = queue
        self._hooks = hooks
        self._store = store
        self._publisher = publisher
        self._stopped = stopped
        self._counts = counts
        self._queue_outage = Outage()

    def run(self) -> None:
        """Take messages until stopped. An outage of the queue or of Postgres is waited for."""
        while not self._stopped.is_set():
            try:
                messages = self._patiently(self._queue.receive, self._queue_outage)
                for message in messages:
                    self._patiently(partial(self._handle, message), ledger_outage)
                if messages:
                    self._patiently(partial(self._queue.done, messages), self._queue_outage)
            except _StoppedError:
                return

    def _handle(self, message: Received) -> None:
        try:
            outcome = self._accepted(message)
        except TransientError:
            raise
        except PermanentError as error:
            outcome = Outcome(refused=[error])
        except Exception as error:
            log.exception("message_failed", queue=self._queue.name)
            outcome = Outcome(refused=[PermanentError(ErrorCode.UNEXPECTED, f"{type(error).__name__}: {error}")])
        for code, refusal in {refusal.code: refusal for refusal in outcome.refused}.items():
            self._store.reject_message(self._queue.name, message.body, code=code, message=refusal.message)
        self._counts.add(self._queue.name, outcome)

    def _accepted(self, message: Received) -> Outcome:
        if message.refusal is not None:
            raise message.refusal
        return accept(read_any(Message(message.body)), self._hooks, self._store, self._publisher)

    def _patiently(self, call: Callable[[], Answer], outage: Outage) -> Answer:
        """What `call` returns, which is repeated while it raises `TransientError`."""
        failures = 0
        while True:
            try:
                answer = call()
            except TransientError as error:
                outage.began(error)
                failures += 1
                if self._stopped.wait(backoff(failures, first=FIRST_WAIT, longest=LONGEST_WAIT)):
                    raise _StoppedError from error
            else:
                if failures:
                    outage.ended()
                return answer


def consume(
    queues: Sequence[Queue], hooks: HooksFile, store: Store, publisher: Publisher, stopped: threading.Event
) -> None:
    """Take messages from each queue in a thread of its own until `stopped`; raises what one of them raised."""
    counts = Counts()
    failures: list[SusyError] = []

    def run(queue: Queue) -> None:
        try:
            Consumer(queue, hooks, store, publisher, stopped, counts).run()
        except SusyError as error:
            failures.append(error)
            stopped.set()

    threads = [threading.Thread(target=run, args=(queue,), name=f"consume-{n}") for n, queue in enumerate(queues)]
    for thread in threads:
        thread.start()
    while not stopped.wait(REPORT_EVERY):
        counts.log_changes()
    for thread in threads:
        thread.join()
    counts.log_changes()
    if failures:
        raise failures[0]
