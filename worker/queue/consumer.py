"""Celery's consumer, which also survives what is no message."""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from worker.queue.envelope import keep_misfits


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Celery's own, with one guard on every connection it makes."""

    def connect(self) -> Any:
        connection = super().connect()
        keep_misfits(connection.default_channel.client)
        return connection
