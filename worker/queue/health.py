"""Health checks for containers: `susy health alive|worker|reconciler|serve`.

`alive` (liveness) asks no server whether the worker's process runs and nothing in it is stuck: restart it if not.
`worker` (readiness) asks Redis whether the worker reports that it takes messages, and the ledger whether it takes the
work that waits for it. A restart helps a worker that takes none, and does not help while Redis or Postgres is
unavailable.

Separate from `susy doctor`, which loads the weights: these checks run every half minute beside a busy worker.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from redis.exceptions import RedisError

from schema.states import Lane
from worker.errors import ErrorCode, UnhealthyError
from worker.extras import require_extra
from worker.settings import Settings
from worker.store import Store

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Where a service that listens on all addresses is asked."""
MISSED_BEATS = 4
"""Heartbeats without a touch of the file after which a worker counts as dead."""


@dataclass(frozen=True)
class HealthLimits:
    """How long a server or a worker may take before it counts as unhealthy, in seconds."""

    answer_within: float = 5.0
    """How long Redis may take to answer."""
    idle_after: float = 60.0
    """How long checks may be due while a worker with free slots begins none."""
    look_again_after: float = 3.0
    """The pause before the second look: a worker that has just started may not have begun its first check."""


HEALTH_LIMITS = HealthLimits()


def check_alive(settings: Settings) -> None:
    """Return when the worker of this machine has touched its file within the last few heartbeats."""
    path = settings.alive_file
    if path is None:
        raise UnhealthyError(ErrorCode.SETTINGS, "SUSY_ALIVE_FILE is not set; set it here and for the worker")
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        raise UnhealthyError(ErrorCode.SETTINGS, f"{path} does not exist; the worker has not started yet") from None
    if age > MISSED_BEATS * settings.heartbeat_interval:
        raise UnhealthyError(ErrorCode.UNEXPECTED, f"{path} was last touched {age:.0f} s ago; restart the worker")


def check_worker(settings: Settings, limits: HealthLimits = HEALTH_LIMITS) -> None:
    """Return when the worker of this host takes messages from Redis, and the checks that wait for it."""
    require_extra("worker", what="the worker's check")
    lanes = _served_lanes(settings, limits)
    with Store(settings.require_database_url(), pool_size=1) as store:
        if _idle_while_work_waits(store, lanes, settings, limits):
            time.sleep(limits.look_again_after)
            if why := _idle_while_work_waits(store, lanes, settings, limits):
                raise UnhealthyError(ErrorCode.UNEXPECTED, why)


def _served_lanes(settings: Settings, limits: HealthLimits) -> list[Lane]:
    """The lanes that the worker of this host serves, by its own report.

    `live` always counts: a worker that has lost its queues does not know it any more.
    """
    from worker.queue.consumer import presence_key

    name = f"celery@{socket.gethostname()}"
    try:
        with settings.require_redis().client(timeout=limits.answer_within) as client:
            report = client.get(f"{settings.key_prefix}{presence_key(name)}")
    except (RedisError, OSError) as error:
        raise UnhealthyError(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not answer: {error}") from error
    if report is None:
        raise UnhealthyError(ErrorCode.QUEUE_UNAVAILABLE, f"{name} does not report that it takes messages; see its log")
    consumed = json.loads(report)
    return [lane for lane in Lane if lane is Lane.LIVE or lane in consumed]


def _idle_while_work_waits(store: Store, lanes: list[Lane], settings: Settings, limits: HealthLimits) -> str | None:
    """Why the worker seems to take no work: checks have been due, it has free slots, and it begins none.

    While it holds a check, it may be waiting for that one to end: a suspect is attempted alone. No attempt takes longer
    than SUSY_HARD_DEADLINE.
    """
    window = max(limits.idle_after, settings.hard_deadline)
    activity = store.worker_activity(socket.gethostname(), lanes, window=window)
    idle_after = window if activity.running else limits.idle_after
    free = settings.concurrency - activity.running
    is_idle = activity.last_claim_age is None or activity.last_claim_age > idle_after
    due_age = activity.oldest_due_age or 0.0
    if free > 0 and is_idle and due_age > limits.idle_after:
        return (
            f"the worker has begun no check for more than {idle_after:.0f} s with {free} of {settings.concurrency}"
            f" slots free, although one has been due for {due_age:.0f} s; restart the worker"
        )
    return None


def check_reconciler(settings: Settings, limits: HealthLimits = HEALTH_LIMITS) -> None:
    """Return when Postgres and Redis, all that a reconciler needs, answer with this process's settings."""
    with Store(settings.require_database_url(), pool_size=1) as store:
        store.ping()
    with settings.require_redis().client(timeout=limits.answer_within) as client:
        client.ping()


def check_serve(settings: Settings, limits: HealthLimits = HEALTH_LIMITS) -> None:
    """Return when the HTTP service of this machine answers that it can accept submissions."""
    host = LOOPBACK.get(settings.serve_host, settings.serve_host)
    connection = HTTPConnection(host, settings.serve_port, timeout=limits.answer_within)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise UnhealthyError(
            ErrorCode.UNEXPECTED, f"nothing serves HTTP on {host} port {settings.serve_port}: {type(error).__name__}"
        ) from error
    finally:
        connection.close()
    if status != 200:
        raise UnhealthyError(
            ErrorCode.UNEXPECTED, f"the service answers its readiness probe by {status}; its log says why"
        )
