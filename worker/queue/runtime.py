"""What a worker process holds: settings, store, detector, policies, heartbeat, publisher."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass, field

from fasteners import ReaderWriterLock

from worker.detector.detector import Detector
from worker.detector.paths import DEMO
from worker.errors import ConfigurationError, ErrorCode
from worker.pipeline.examine import Examiner
from worker.policy.selection import load_pinned
from worker.queue.heartbeat import LeaseHeartbeat
from worker.queue.policies import CurrentPolicies
from worker.queue.publisher import Publisher
from worker.queue.retry import RetryingStore, retry_while_unavailable
from worker.settings import Settings
from worker.sources.sources import Sources
from worker.store import Store
from worker.store.migrate import require_current


@dataclass
class Runtime:
    """Everything an attempt needs. One per process; `close` releases all of it."""

    settings: Settings
    store: Store
    retrying_store: RetryingStore
    """The same ledger, for attempts."""
    detector: Detector
    examiner: Examiner
    policies: CurrentPolicies
    sources: Sources
    heartbeat: LeaseHeartbeat
    isolation: ReaderWriterLock
    """Attempts hold it for reading; one that may end the process holds it for writing, with no other in flight."""
    publisher: Publisher
    _stack: ExitStack = field(repr=False)

    def close(self) -> None:
        self._stack.close()


def start_runtime(settings: Settings) -> Runtime:
    """Check the setup and open everything, waiting for Postgres while it is unavailable.

    Raises `SetupError` before any message is taken.
    """
    settings.require_sources()
    database_url = settings.require_database_url()
    with ExitStack() as stack:
        pinned = load_pinned(settings.policy_file, settings.policy_dir)
        store = stack.enter_context(Store(database_url, pool_size=settings.concurrency + 2))
        retry_while_unavailable(require_current, database_url)
        policies = retry_while_unavailable(CurrentPolicies, store, pinned)
        publisher = stack.enter_context(Publisher(settings))
        sources = stack.enter_context(Sources(settings))
        detector = stack.enter_context(Detector(settings))
        if detector.identity.is_demo and settings.weights != DEMO:
            raise ConfigurationError(
                ErrorCode.SETTINGS,
                "these are demonstration weights; run `susy weights pull` for the released ones, or set "
                "SUSY_WEIGHTS=demo to try the worker with verdicts that decide nothing",
            )
        pinned.require_known_generators(detector.identity.classes)
        heartbeat = LeaseHeartbeat(store, settings)
        stack.callback(heartbeat.stop)
        worker = f"{socket.gethostname()}:{os.getpid()}"
        return Runtime(
            settings=settings,
            store=store,
            retrying_store=RetryingStore(store, settings, worker=worker),
            detector=detector,
            examiner=Examiner.of(settings, detector),
            policies=policies,
            sources=sources,
            heartbeat=heartbeat,
            isolation=ReaderWriterLock(),
            publisher=publisher,
            _stack=stack.pop_all(),
        )


class CurrentRuntime:
    """The runtime of this process, which the worker starts once and tasks look up."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None

    def start(self, settings: Settings) -> Runtime:
        self._runtime = start_runtime(settings)
        return self._runtime

    def get(self) -> Runtime:
        if self._runtime is None:
            raise ConfigurationError(ErrorCode.SETTINGS, "tasks run only inside a worker; start one with `susy worker`")
        return self._runtime

    def stop(self) -> None:
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None


current = CurrentRuntime()
