"""A worker that examines nothing: it claims checks of the real ledger and records what a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import psycopg

from schema.states import Decision
from tests.support.ledger import SCAN, VERDICT, examination
from worker.errors import ErrorCode
from worker.store import Store

Outcome = Decision | ErrorCode | None
"""A verdict, a code to quarantine with, or nothing: the check keeps waiting."""


@contextmanager
def working(database_url: str, store: Store, outcome: Outcome, *, after: float = 0.0) -> Iterator[None]:
    """End each check that is submitted while the block runs, `after` seconds from its submission."""
    stopped = threading.Event()

    def work() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not stopped.wait(0.02):
                for (check_id,) in connection.execute("SELECT id FROM susy.checks WHERE state = 'queued'"):
                    time.sleep(after)
                    _end(store, check_id, outcome)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _end(store: Store, check_id: UUID, outcome: Outcome) -> None:
    if outcome is None:
        return
    claim = store.claim(check_id, worker="test", lease=60, max_attempts=5)
    if claim is None:
        return
    if isinstance(outcome, Decision):
        scan = replace(SCAN, content_sha256=f"{check_id.int:064x}")
        store.record(claim, examination(scan, replace(VERDICT, decision=outcome)))
    else:
        store.fail(claim, code=outcome, message="why", retry_in=None)
