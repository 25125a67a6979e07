"""Celery's consumer, which also survives items that are no message and connections that are gone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from worker.log import get_logger
from worker.queue.messages import wrap_invalid_messages

log = get_logger(__name__)


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Celery's own, with guards where an error would end the whole worker.

    kombu raises AttributeError, which Celery takes for unrecoverable, when it restores or acknowledges a message on
    a channel whose connection was closed meanwhile. Neither is needed: Redis hands an unacknowledged message out
    again, and the ledger knows whether its check is done.
    """

    def connect(self) -> Any:
        connection = super().connect()
        wrap_invalid_messages(connection.default_channel.client)
        return connection

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        if self.task_consumer is not None:
            self.task_consumer.channel.do_restore = False
        super().on_connection_error_after_connected(exc)

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().call_soon_ack(partial(_if_possible, p), *args, **kwargs)


def _if_possible(acknowledge: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    try:
        acknowledge(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 (whatever it is, the message comes again and finds nothing to do)
        log.info("not_acknowledged", error=f"{type(error).__name__}: {error}")
