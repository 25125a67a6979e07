"""How Celery is configured, for workers and for tools that inspect them."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.entity import Queue

from schema.messages import CHECK_TASK, SUBMIT_QUEUE, SUBMIT_TASK
from schema.states import Lane
from worker.queue.consumer import QUEUES, Consumer
from worker.settings import Settings


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
        # Decoding and waiting for Postgres release the GIL; inference has threads of its own.
        worker_pool="threads",
        worker_concurrency=settings.concurrency,
        worker_prefetch_multiplier=1,
        worker_consumer=f"{Consumer.__module__}:{Consumer.__name__}",
        # Attempts continue when the connection to Redis is lost: their verdicts do not depend on it.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_prefetch_count_reduction=False,
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
