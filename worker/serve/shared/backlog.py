"""Backpressure: a source whose checks wait for too long is asked to submit later, before anything is written."""

from __future__ import annotations

import asyncio
import time

from starlette.concurrency import run_in_threadpool

from schema.states import Lane
from worker.errors import ErrorCode
from worker.serve.problems import RefusedError
from worker.settings import Settings
from worker.store import Store

MIN_RETRY, MAX_RETRY = 5.0, 300.0
"""Bounds of `Retry-After`, in seconds."""
_MAX_ENTRIES = 10_000


class Backlog:
    """The age of the oldest due check per source and lane. For one event loop."""

    def __init__(self, store: Store, settings: Settings, *, max_age: float) -> None:
        """`max_age` is how long a result of the ledger is cached, in seconds."""
        self._store = store
        self._max_age = max_age
        self._limits = {Lane.LIVE: settings.max_wait_live, Lane.BACKFILL: settings.max_wait_backfill}
        self._ages: dict[tuple[str, Lane], tuple[float, asyncio.Task[float | None]]] = {}
        """When the ledger was queried, and its result."""

    async def require_room(self, source: str, lane: Lane) -> None:
        """Raise `RefusedError` (`backlog_full`) when the source's oldest due check in this lane has waited too long.

        The longer it has, the later the caller is asked to come again. A paused lane accepts everything: an operator
        has said that it waits.
        """
        limit = self._limits[lane]
        if not limit:
            return
        age = await self._age(source, lane)
        if age is not None and age > limit:
            raise RefusedError(
                ErrorCode.BACKLOG_FULL,
                f"the oldest check of {source!r} in the lane {lane} has waited for {age:.0f} s; submit later, or start"
                " more workers",
                retry_after=min(max(age - limit, MIN_RETRY), MAX_RETRY),
            )

    async def _age(self, source: str, lane: Lane) -> float | None:
        now = time.monotonic()
        asked_at, asking = self._ages.get((source, lane), (float("-inf"), None))
        if asking is None or now - asked_at > self._max_age:
            if len(self._ages) >= _MAX_ENTRIES:
                self._ages.clear()
            asking = asyncio.create_task(run_in_threadpool(self._store.oldest_due_age, source, lane))
            self._ages[source, lane] = now, asking
        return await asyncio.shield(asking)
