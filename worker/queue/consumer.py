"""Celery's consumer of messages from Redis, with guards where an error would end the whole worker or lose a message."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer
from redis.exceptions import ResponseError

from schema.messages import SUBMIT_QUEUE
from schema.states import Lane
from worker.errors import ErrorCode, TransientError
from worker.log import get_logger
from worker.queue.acknowledgement import SharedClient
from worker.queue.messages import normalize_messages
from worker.queue.retry import Outage, backoff

log = get_logger(__name__)

QUEUES = (SUBMIT_QUEUE, *(str(lane) for lane in Lane))
"""In the order in which they are served: submissions before checks, live before backfill."""

PRESENCE_INTERVAL = 5.0
"""Seconds between two reports of a worker that it takes messages."""
PRESENCE_EXPIRES = 20.0
"""Seconds for which a report counts."""

STABLE_AFTER = 10.0
"""Seconds after which a connection that breaks is replaced at once, without a wait."""
FIRST_WAIT, LONGEST_WAIT = 0.25, 10.0
"""Seconds before a connection that broke early is replaced, before the jitter of `backoff`."""

broker_outage = Outage()
"""The outage of Redis as the consumer sees it."""


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Celery's consumer, with guards where an error would end the whole worker.

    kombu raises AttributeError, which Celery takes for unrecoverable, when it restores or acknowledges a message on a
    channel whose connection has been closed. Neither is needed: Redis redelivers a message that was not acknowledged,
    and the ledger knows whether its check is done.

    It listens to no broadcast: remote control, gossip, mingle and events are off, however the worker was started.
    """

    def __init__(self, *args: Any, worker_options: dict[str, Any] | None = None, **kwargs: Any) -> None:
        silent = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True, "task_events": False}
        super().__init__(*args, worker_options={**(worker_options or {}), **silent}, **{**kwargs, "task_events": False})
        self._connected_at = time.monotonic()
        self._early_failures = 0
        """How many connections have broken early, one after the other."""

    def connect(self) -> Any:
        connection = super().connect()
        self._connected_at = time.monotonic()
        channel = connection.default_channel
        normalize_messages(channel.client, channel.global_keyprefix, QUEUES)
        channel.conn_or_acquire = SharedClient(channel)
        return connection

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        self._report_presence()
        hub.call_repeatedly(PRESENCE_INTERVAL, self._report_presence)

    def _report_presence(self) -> None:
        """Tell `susy health worker` by a key that expires which queues this worker takes messages from.

        It is called by the event loop: a worker whose loop is stuck does not report. The channel's own connection waits
        for messages, so another one of its pool is used.
        """
        queues = json.dumps([queue.name for queue in self.task_consumer.queues])
        try:
            with self.connection.default_channel.conn_or_acquire() as client:
                client.set(presence_key(self.hostname), queues, px=int(PRESENCE_EXPIRES * 1000))
        except ResponseError as error:  # no memory or disk, or a replica: messages can perhaps be taken nevertheless
            log.debug("presence_not_reported", error=str(error))
        else:
            if time.monotonic() - self._connected_at >= PRESENCE_INTERVAL / 2 or not self._early_failures:
                broker_outage.ended()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        broker_outage.began(TransientError(ErrorCode.QUEUE_UNAVAILABLE, f"the connection to Redis broke: {exc}"))
        if self.task_consumer is not None:
            self.task_consumer.channel.do_restore = False
        with warnings.catch_warnings():  # that attempts continue, which `celery_app` chooses
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)
        if time.monotonic() - self._connected_at > STABLE_AFTER:
            self._early_failures = 0
        else:
            self._wait_after_early_failure()

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        super().on_connection_error_before_connected(exc)
        self._wait_after_early_failure()

    def _wait_after_early_failure(self) -> None:
        """A server that accepts connections and refuses what is asked of it must not be asked in a tight loop."""
        self._early_failures += 1
        until = time.monotonic() + backoff(self._early_failures, first=FIRST_WAIT, longest=LONGEST_WAIT)
        while time.monotonic() < until and state.should_stop is None:
            time.sleep(0.05)

    def call_soon_ack(self, p: Callable[..., Any], *args: Any) -> Any:
        return super().call_soon_ack(partial(_acknowledge, p), *args)


def presence_key(worker: str) -> str:
    """The key, without the prefix, by which the worker of this name reports that it takes messages."""
    return f"worker:{worker}"


def _acknowledge(acknowledge: Callable[..., Any], logger: logging.Logger, _errors: Any, *requeue: bool) -> None:
    try:
        acknowledge(logger, (), *requeue)  # of these errors kombu logs a traceback for each message
    except Exception as error:  # noqa: BLE001 (the message is redelivered and finds nothing to claim)
        log.info("acknowledge_failed", error=f"{type(error).__name__}: {error}")


class ConnectionErrorFilter(logging.Filter):
    """Reports Celery's lines about a broker that it cannot connect to, one per retry, as one outage.

    Its line about a connection that broke is dropped: `Consumer` reports that.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "Cannot connect to" in message:
            broker_outage.began(TransientError(ErrorCode.QUEUE_UNAVAILABLE, message.removeprefix("consumer: ")))
            return False
        return "Connection to broker lost" not in message
