"""`susy health`: probes for containers and services. They are cheap; `susy doctor` loads the weights."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from worker.errors import SusyError
from worker.settings import load_settings


class Probe(StrEnum):
    """What is tested."""

    ALIVE = "alive"
    WORKER = "worker"
    RECONCILER = "reconciler"
    SERVE = "serve"
    DELIVER = "deliver"


def health(
    probe: Annotated[
        Probe,
        typer.Argument(
            help="alive: the worker of this machine is not stuck (asks no server); worker: it is ready for work; "
            "reconciler: the servers that a reconciler needs answer; serve: the HTTP service here can accept "
            "submissions; deliver: Postgres answers, and no callback is overdue."
        ),
    ],
) -> None:
    """Probe a process of this machine: exit code 0 if it is healthy, 1 if not. Restart a worker by `alive` alone."""
    from worker.callbacks.health import check_deliver
    from worker.queue.health import check_alive, check_reconciler, check_serve, check_worker

    checks = {
        Probe.ALIVE: check_alive,
        Probe.WORKER: check_worker,
        Probe.RECONCILER: check_reconciler,
        Probe.SERVE: check_serve,
        Probe.DELIVER: check_deliver,
    }
    try:
        checks[probe](load_settings())
    except SusyError as error:
        print(f"susy: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except Exception as error:  # noqa: BLE001 (clients raise many kinds, whose text may contain a password)
        print(f"susy: the probe failed with {type(error).__name__}", file=sys.stderr)
        raise typer.Exit(1) from None
