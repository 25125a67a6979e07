"""What the requests of one process share: connections, keys, limits, and whatever waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ParamSpec, Self, TypeVar

import anyio.to_thread
from fastapi import Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from worker.machine.memory import MemoryBudget
from worker.queue.publisher import Publisher
from worker.serve.shared.backlog import Backlog
from worker.serve.shared.in_flight import InFlight
from worker.serve.shared.keyring import KeyRing
from worker.serve.shared.rates import Rates
from worker.serve.shared.submitter import Submitter
from worker.serve.shared.times import TimeLimits
from worker.serve.shared.waiters import Waiters
from worker.settings import Settings
from worker.sources.storage import Storage, open_storage
from worker.store import Store

THREADS = 8
"""Threads of one process that wait for Postgres, and connections to it. The store is synchronous."""
DRAWING_AT_ONCE = 2
"""Images of one process that are read and drawn on at once, in threads of their own."""
REDIS_ANSWER_WITHIN = 2.0
"""Seconds that Redis may take to answer before checks are left to the reconciler."""

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class Services:
    """Everything that lives as long as the process serves."""

    settings: Settings
    store: Store
    publisher: Publisher
    keys: KeyRing
    rates: Rates
    backlog: Backlog
    submitter: Submitter
    waiters: Waiters
    in_flight: InFlight
    times: TimeLimits

    @classmethod
    def create(cls, settings: Settings, rates_file: Path | None, times: TimeLimits) -> Self:
        """Connects to nothing yet. Raises `ConfigurationError` when a URL is missing."""
        store = Store(settings.require_database_url(), pool_size=THREADS)
        publisher = Publisher(settings, answer_within=REDIS_ANSWER_WITHIN)
        return cls(
            settings=settings,
            store=store,
            publisher=publisher,
            keys=KeyRing(store.keys),
            rates=Rates(settings.serve_rate, rates_file),
            backlog=Backlog(store, settings, max_age=times.backlog_age),
            submitter=Submitter(store, publisher),
            waiters=Waiters(store),
            in_flight=InFlight(),
            times=times,
        )

    async def start(self) -> None:
        """Begin to connect. Postgres need not be available yet: requests are answered by 503 until it is."""
        # Also for the routes that are plain functions: no more threads than connections.
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        self.store.open()

    async def stop(self) -> None:
        """Finish what is being published, and close the connections."""
        self.waiters.stop()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.submitter.close()
        self.store.close()
        self.publisher.close()
        self.rates.close()

    async def call(
        self, function: Callable[Parameters, Answer], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Answer:
        """Run a function of the store in a thread."""
        return await run_in_threadpool(function, *args, **kwargs)

    async def draw(
        self, function: Callable[Parameters, Answer], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Answer:
        """Run a function that reads and decodes an image in a thread, beside those that wait for Postgres."""
        async with self._drawing:
            return await asyncio.to_thread(function, *args, **kwargs)

    @cached_property
    def storage(self) -> Storage:
        """Where uploaded images are stored. Raises as `open_storage` does."""
        return open_storage(self.settings)

    @cached_property
    def memory(self) -> MemoryBudget:
        """What the images that are drawn on share: this process's part of `SUSY_MEMORY`."""
        return MemoryBudget(self.settings.memory_budget // self.settings.serve_workers)

    @cached_property
    def _drawing(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(DRAWING_AT_ONCE)


def services_of(request: Request) -> Services:
    """A dependency of routes: what the requests of this process share."""
    services: Services = request.app.state.services
    return services


Shared = Annotated[Services, Depends(services_of)]
"""The type of a route's parameter."""
