"""`susy worker` and `susy reconciler`: the long-running processes."""

from __future__ import annotations

import signal
import threading

from worker.settings import load_settings


def worker() -> None:
    """Examine checks until told to stop (SIGTERM finishes what is running)."""
    from worker.queue.app import app, settings

    app.worker_main(["--quiet", "worker", "--loglevel", settings.log_level, "--without-gossip", "--without-mingle"])


def reconciler() -> None:
    """Republish what is due, free what dead workers hold. Run one or several; one leads."""
    from worker.log import configure_logging
    from worker.queue.publisher import Publisher
    from worker.queue.reconciler import reconcile_forever
    from worker.store import Store

    settings = load_settings()
    configure_logging(settings)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with Store(settings.need_database_url(), pool_size=2) as store, Publisher(settings) as publisher:
        reconcile_forever(store, publisher, settings, stopped)
