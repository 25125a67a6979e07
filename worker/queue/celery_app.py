"""How Celery is configured, and its consumer with guards."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from celery import Celery
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.entity import Queue
from redis import Redis
from redis.exceptions import ResponseError

from schema.messages import CHECK_TASK, SUBMIT_QUEUE, SUBMIT_TASK
from schema.states import Lane
from worker.errors import ErrorCode, TransientError
from worker.log import get_logger
from worker.queue.messages import normalize_messages
from worker.queue.retry import Outage
from worker.settings import Settings

log = get_logger(__name__)

QUEUES = (SUBMIT_QUEUE, *(str(lane) for lane in Lane))
"""In the order in which they are served: submissions before checks, live before backfill."""

PRESENCE_INTERVAL = 5.0
"""Seconds between two reports of a worker that it takes messages."""
PRESENCE_EXPIRES = 20.0
"""Seconds for which a report counts."""

broker_outage = Outage()
"""The outage of Redis as the consumer sees it."""


def make_app(settings: Settings) -> Celery:
    """A Celery app on the settings' Redis. Its tasks are registered by `worker.queue.tasks`."""
    address = settings.require_redis()
    app = Celery("susy", set_as_current=False)
    app.conf.update(
        broker_url=address.broker_url,
        broker_use_ssl=address.broker_tls,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Also after an answer that refuses: a primary that became a replica, a user whose rights are being changed.
        broker_channel_error_retry=True,
        broker_transport_options=_transport_options(settings),
        task_queues=[Queue(name, routing_key=name) for name in QUEUES],
        task_default_queue=str(Lane.LIVE),
        task_routes={SUBMIT_TASK: {"queue": SUBMIT_QUEUE}, CHECK_TASK: {"queue": str(Lane.LIVE)}},
        # The ledger in Postgres holds results and schedules retries; Redis only carries ids.
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        accept_content=["json"],
        # Decoding and waiting for Postgres release the GIL; inference has a thread of its own.
        worker_pool="threads",
        worker_concurrency=settings.concurrency,
        worker_prefetch_multiplier=1,
        worker_consumer=f"{__name__}:{Consumer.__name__}",
        # Attempts continue when the connection to Redis is lost: their verdicts do not depend on it.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # Whoever can write to Redis could otherwise stop workers and change their queues; one message that is not an
        # object would end them (`docs/decisions/0013-remote-control.md`).
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def _transport_options(settings: Settings) -> dict[str, Any]:
    return {
        "visibility_timeout": settings.visibility_timeout,
        "unacked_mutex_expire": 30,
        "global_keyprefix": settings.key_prefix,
        # Take from the first queue that has a message, in the order of QUEUES.
        "queue_order_strategy": "priority",
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        # A half-open connection is noticed within twice this time.
        "health_check_interval": 10,
    }


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

    def connect(self) -> Any:
        connection = super().connect()
        broker_outage.ended()
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
        except ResponseError:  # no memory or disk, or a replica: taking messages will show whether that matters
            log.debug("presence_not_reported", exc_info=True)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        if self.task_consumer is not None:
            self.task_consumer.channel.do_restore = False
        super().on_connection_error_after_connected(exc)

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().call_soon_ack(partial(_acknowledge, p), *args, **kwargs)


def presence_key(worker: str) -> str:
    """The key, without the prefix, by which the worker of this name reports that it takes messages."""
    return f"worker:{worker}"


class SharedClient:
    """One Redis client for all acknowledgements of a channel.

    kombu makes a client for each, which takes 0.2 ms because a client builds a table of all commands. The client has no
    connection of its own; it takes one from the channel's pool, which kombu replaces when it reconnects.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._client: Redis | None = None

    @contextmanager
    def __call__(self, client: Redis | None = None) -> Iterator[Redis]:
        """What `kombu.transport.redis.Channel.conn_or_acquire` does: the given client, or else one of the channel's."""
        if client is None:
            if self._client is None or self._client.connection_pool is not self._channel.pool:
                self._client = self._channel._create_client()
            client = self._client
        yield client


def _acknowledge(acknowledge: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    try:
        acknowledge(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 (the message is redelivered and finds nothing to claim)
        log.info("acknowledge_failed", error=f"{type(error).__name__}: {error}")


class ConnectionErrorFilter(logging.Filter):
    """Reports Celery's lines about a broker that it cannot connect to, one per retry, as one outage."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "Cannot connect to" not in message:
            return True
        broker_outage.began(TransientError(ErrorCode.QUEUE_UNAVAILABLE, message.removeprefix("consumer: ")))
        return False
