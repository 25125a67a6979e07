"""`susy worker`, `susy reconciler` and `susy deliver`: the long-running processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Annotated

import typer

from worker.extras import needs
from worker.machine.memory import share_one_heap
from worker.settings import load_settings


@needs("worker")
def worker(
    attended: Annotated[bool, typer.Option(hidden=True, help="Stop when standard input ends.")] = False,
) -> None:
    """Examine checks until told to stop (SIGTERM finishes what is running)."""
    share_one_heap()
    from celery.bin.celery import celery

    from worker.queue.app import __name__ as app_module
    from worker.queue.app import settings

    if attended:
        threading.Thread(target=stop_with_standard_input, name="attendance", daemon=True).start()
    options = ["--loglevel", settings.log_level, "--without-gossip", "--without-mingle"]
    # Not `app.worker_main`, which drops the exit code: a supervisor must see that a worker ended by an error.
    exit_code = celery.main(["--app", app_module, "--quiet", "worker", *options], standalone_mode=False)
    raise typer.Exit(1 if exit_code is None else exit_code)


def stop_with_standard_input() -> None:
    """Stop when whoever started this process is gone, however it ended: nobody else holds the pipe's other end."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def reconciler() -> None:
    """Republish what is due, free what dead workers hold. Run one or several; one leads.

    Ends with 0 after SIGTERM or SIGINT, with 2 where its setup or the database's schema is wrong.
    """
    from worker.log import configure_logging
    from worker.queue.publisher import Publisher
    from worker.queue.reconciler import reconcile_forever, wait_for_ledger
    from worker.store import Store

    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    stopped = _stopped_by_signal()
    with Store(settings.require_database_url(), pool_size=2) as store, Publisher(settings) as publisher:
        wait_for_ledger(settings, stopped)
        reconcile_forever(store, publisher, settings, stopped)


@needs("http", "deliver")
def deliver(
    attended: Annotated[bool, typer.Option(hidden=True, help="Stop when standard input ends.")] = False,
) -> None:
    """Send callbacks to the registered endpoints. Run one or several; they share the work."""
    from worker.callbacks.deliver import deliver_forever
    from worker.log import configure_logging

    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    stopped = _stopped_by_signal()
    if attended:
        threading.Thread(target=stop_with_standard_input, name="attendance", daemon=True).start()
    deliver_forever(settings, stopped)


def _stopped_by_signal() -> threading.Event:
    """An event that SIGTERM or SIGINT sets."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
