"""Long polls: any number of requests wait for their checks by one query together, a few times per second.

`LISTEN` would need a `NOTIFY` in every transaction that ends a check, and Postgres lets one such transaction commit at
a time. A query by primary key of a few hundred checks takes about a millisecond, and none is made while no request
waits.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

from starlette.concurrency import run_in_threadpool

from worker.errors import SusyError
from worker.store import Store

POLL_INTERVAL = 0.2
"""Seconds between two queries."""
MAX_WAITING = 2000
"""Requests of one process that wait at once; further ones are answered without waiting."""


class Waiters:
    """Requests that wait for their checks to finish. For one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[UUID, set[asyncio.Future[None]]] = {}
        self._count = 0
        self._polling: asyncio.Task[None] | None = None
        self._stopped = False

    async def wait(self, check_id: UUID, seconds: float) -> None:
        """Return when the check has finished, after `seconds`, or when the service stops."""
        if self._stopped or self._count >= MAX_WAITING:
            return
        finished = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(check_id, set()).add(finished)
        self._count += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(seconds):
                await finished
        except TimeoutError:
            pass
        finally:
            self._count -= 1
            others = self._waiting.get(check_id, set())
            others.discard(finished)
            if not others:
                self._waiting.pop(check_id, None)

    def stop(self) -> None:
        """Let every request be answered now, and later ones at once."""
        self._stopped = True
        self._resume(list(self._waiting))

    async def _poll(self) -> None:
        while self._waiting:
            await asyncio.sleep(POLL_INTERVAL)
            if not self._waiting:
                return
            try:
                self._resume(await run_in_threadpool(self._store.finished, list(self._waiting)))
            except SusyError:  # Postgres is unavailable; each request is answered so when its time is over
                continue

    def _resume(self, check_ids: list[UUID]) -> None:
        for check_id in check_ids:
            for finished in self._waiting.pop(check_id, ()):
                if not finished.done():
                    finished.set_result(None)
