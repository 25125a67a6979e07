"""Health checks for containers: `python -m worker.queue.health alive|worker|reconciler`; exit code 0 is healthy.

`alive` (liveness) asks no server whether the worker's process runs and nothing in it is stuck: restart it if not.
`worker` (readiness) asks through Redis whether the worker answers; a restart does not help while Redis is unavailable.

Separate from `susy doctor`, which loads the weights: these checks run every half minute beside a busy worker.
"""

from __future__ import annotations

import socket
import sys
import time

from worker.errors import ErrorCode, SusyError, UnhealthyError
from worker.queue.celery_app import make_app
from worker.settings import Settings, load_settings
from worker.store import Store

ANSWER_WITHIN = 5.0
"""Seconds. A worker's main thread answers between two messages; images are examined in other threads."""

MISSED_BEATS = 4
"""Heartbeats without a touch of the file after which a worker counts as dead."""


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


def check_worker(settings: Settings) -> None:
    """Return when the worker of this host answers through Redis."""
    name = f"celery@{socket.gethostname()}"
    with make_app(settings) as app:
        if not app.control.ping(destination=[name], timeout=ANSWER_WITHIN):
            raise UnhealthyError(ErrorCode.QUEUE_UNAVAILABLE, f"{name} does not answer; see its log")


def check_reconciler(settings: Settings) -> None:
    """Return when Postgres and Redis, all that a reconciler needs, answer with this process's settings."""
    with Store(settings.require_database_url(), pool_size=1) as store:
        store.ping()
    with settings.require_redis().client(timeout=ANSWER_WITHIN) as client:
        client.ping()


CHECKS = {"alive": check_alive, "worker": check_worker, "reconciler": check_reconciler}


def main(arguments: list[str]) -> int:
    """Run the named check. Exit codes: 0 healthy, 1 unhealthy, 2 wrong usage."""
    if len(arguments) != 1 or arguments[0] not in CHECKS:
        print(f"usage: python -m worker.queue.health {'|'.join(CHECKS)}", file=sys.stderr)
        return 2
    try:
        CHECKS[arguments[0]](load_settings())
    except SusyError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 (clients raise many kinds, whose text may contain a password)
        print(f"the check failed with {type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
