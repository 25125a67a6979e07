"""What the ledger and the queue cost: with a thousand and a million checks waiting, and in a worker's CPU time.

    python -m bench.ledger [--rows 1000000] [--rounds 15] [--checks 2000]

Rounds alternate between the two databases, so that a busy machine slows both. The worker is the real one, with the
examination of the image replaced by a ready answer: what is left is submit, publish, claim, heartbeat, record and
acknowledge.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import psycopg
import redis

from bench.servers import FILL, Servers, median, servers
from schema.messages import SUBMIT_QUEUE, SUBMIT_TASK
from schema.states import Lane
from tests.support.ledger import examination
from tests.support.scans import scan_of
from worker.log import configure_logging
from worker.queue.messages import envelope
from worker.queue.publisher import Publisher
from worker.queue.reconciler import reconcile_forever
from worker.settings import load_settings
from worker.store import Store

PER_ROUND = 200
PARTS = 5
BURSTS = 3
"""Times that all checks are given at once."""
WARM_UP = 200
"""Checks before the worker is measured."""
AT_ONCE = 16
"""Checks that a worker is given together; few enough that it publishes all of them itself."""
SCAN = scan_of([0.3] * 5 + [None] * 19)
ANSWER = examination(SCAN)
"""Made once: drawing its map is no work of the ledger or the queue."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--checks", type=int, default=2000)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_worker()
        return
    with servers() as running:
        print(f"{running.describe()}.\n", flush=True)
        compare_depths(running, options.rows, options.rounds)
        measure_worker(running, options.checks)


def compare_depths(running: Servers, rows: int, rounds: int) -> None:
    urls = {count: running.new_database(f"checks_{count}") for count in (1000, rows)}
    looks: list[tuple[str, list[float]]] = []
    for count, url in urls.items():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL, {"rows": count})
    with Store(urls[rows], pool_size=1) as store:
        looks.append(("`backlog status`, rows just inserted", timed(store.status, 10)))
        with psycopg.connect(urls[rows], autocommit=True) as connection:
            for url in urls.values():
                with psycopg.connect(url, autocommit=True) as other:
                    other.execute("VACUUM ANALYZE susy.checks")
        looks.append(("`backlog status`", timed(store.status, 20)))
        looks.append(("`backlog status --exact`", timed(lambda: store.status(exact_up_to=None), 5)))
        looks.append(
            ("choosing 64 due checks, sources in turn", timed(lambda: store.take_due(Lane.BACKFILL, limit=64), 20))
        )
        looks.append(("choosing 500", timed(lambda: store.take_due(Lane.BACKFILL, limit=500), 20)))
        shown = store.status().lanes[1].queued
        with psycopg.connect(urls[rows]) as connection:
            row = connection.execute("SELECT count(*) FROM susy.checks WHERE state = 'queued'").fetchone()
        assert row is not None
    print(f"| with {rows:,} checks queued | ms: median (range) |\n|---|---|")
    for name, times in looks:
        print(f"| {name} | {median(times)} |")
    print(f"\nThe status says {shown:,} are queued; there are {row[0]:,}.\n", flush=True)
    costs: dict[int, list[float]] = {count: [] for count in urls}
    with Store(urls[1000], pool_size=1) as small, Store(urls[rows], pool_size=1) as large:
        stores = {1000: small, rows: large}
        for _ in range(rounds):
            due = {count: store.take_due(Lane.BACKFILL, limit=PER_ROUND) for count, store in stores.items()}
            seconds = dict.fromkeys(urls, 0.0)
            for pair in zip(due[1000], due[rows], strict=True):
                # One of each in turn, so that whatever else the machine does meets both.
                for (count, store), check_id in zip(stores.items(), pair, strict=True):
                    seconds[count] += claim_and_record(store, check_id)
            for count, url in urls.items():
                costs[count].append(seconds[count] / PER_ROUND)
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(FILL, {"rows": PER_ROUND})
    ratios = sorted(large / small for small, large in zip(costs[1000], costs[rows], strict=True))
    print("| checks queued | claim and record, ms a check: median (range) |\n|---|---|")
    for count, times in costs.items():
        print(f"| {count:,} | {median(times)} |")
    print(f"\nRatio of the two in each round: {median(ratios, 1)}.\n", flush=True)


def timed(call: Callable[[], object], times: int) -> list[float]:
    call()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return taken


def claim_and_record(store: Store, check_id: UUID) -> float:
    """Seconds that it took."""
    outcome = examination(replace(SCAN, content_sha256=f"{check_id.int:064x}"))
    started = time.perf_counter()
    claim = store.claim(check_id, worker="bench", lease=90, max_attempts=5)
    assert claim is not None
    store.record(claim, outcome)
    return time.perf_counter() - started


def measure_worker(running: Servers, checks: int) -> None:
    costs, idle_rate, rates = worker_costs(running, checks)
    print("| in the worker process | CPU ms a check: median (range) |\n|---|---|")
    print(f"| submit, publish, claim, heartbeat, record, acknowledge | {median(costs)} |")
    print(f"\n{checks:,} checks in {PARTS} parts; an idle worker's {idle_rate * 1000:.1f} ms a second are taken off.")
    print(
        f"Mean {statistics.mean(costs) * 1000:.2f} ms. Given all at once, {median(rates, 1)} checks per second.",
        flush=True,
    )


def worker_costs(running: Servers, checks: int) -> tuple[list[float], float, list[float]]:
    """CPU seconds of a worker per check in each of `PARTS` parts, and per second in which it is idle.

    Third, its checks per second when all are given to it at once: no process does more, on however many cores, because
    what is left without the image is mostly Python, which runs one thread at a time.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SUSY_")} | {
        "SUSY_DATABASE_URL": running.new_database("worker"),
        "SUSY_REDIS_URL": running.redis_url,
        "SUSY_IMAGE_ROOTS": str(Path.cwd()),
        "SUSY_HEARTBEAT_INTERVAL": "15",
        "SUSY_LOG_FORMAT": "json",
    }
    settings = load_settings(
        database_url=environment["SUSY_DATABASE_URL"], redis_url=running.redis_url, log_level="WARNING"
    )
    configure_logging(settings.log_format, settings.log_level)
    stopped = threading.Event()
    with (
        Store(settings.require_database_url(), pool_size=2) as store,
        Publisher(settings) as publisher,
        redis.Redis.from_url(running.redis_url) as client,
        subprocess.Popen(
            [sys.executable, "-m", "bench.ledger", "--worker"], env=environment, stderr=subprocess.DEVNULL
        ) as worker,
    ):
        reconciler = threading.Thread(target=reconcile_forever, args=(store, publisher, settings, stopped))
        reconciler.start()
        try:
            process = psutil.Process(worker.pid)
            work(client, settings.require_database_url(), WARM_UP)  # imports, prepared statements, pools
            idle = cpu(process), time.monotonic()
            time.sleep(10)
            idle_rate = (cpu(process) - idle[0]) / (time.monotonic() - idle[1])
            costs = []
            for _ in range(PARTS):
                before, started = cpu(process), time.monotonic()
                work(client, settings.require_database_url(), checks // PARTS)
                spent = cpu(process) - before - idle_rate * (time.monotonic() - started)
                costs.append(spent / (checks // PARTS))
            rates = []
            for _ in range(BURSTS):
                started = time.monotonic()
                work(client, settings.require_database_url(), checks, at_once=checks)
                rates.append(checks / (time.monotonic() - started))
        finally:
            stopped.set()
            reconciler.join()
            worker.terminate()
    return costs, idle_rate, rates


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def work(client: redis.Redis, database_url: str, count: int, at_once: int = AT_ONCE) -> None:
    """Let the worker accept and examine so many submissions."""
    with psycopg.connect(database_url, autocommit=True) as connection:

        def done() -> int:
            row = connection.execute("SELECT count(*) FROM susy.checks WHERE state = 'done'").fetchone()
            assert row is not None
            return int(row[0])

        target = done()
        for start in range(0, count, at_once):
            some = min(at_once, count - start)
            client.lpush("susy:submit", *(message() for _ in range(some)))
            target += some
            until = time.monotonic() + 120
            while done() < target:
                assert time.monotonic() < until, "the worker does not work"
                time.sleep(0.01)


def message() -> str:
    """A submission, each of another image."""
    fields = {"version": 1, "source": "bench", "uri": "/images/1.jpg", "external_id": str(uuid4())}
    return envelope(SUBMIT_TASK, SUBMIT_QUEUE, kwargs=fields)


class ReadyAnswer:
    """Takes the place of the detector; nothing asks it."""

    identity = SCAN.model
    device = "none"

    def __init__(self, _settings: object) -> None:
        pass

    def __enter__(self) -> ReadyAnswer:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass


def answer_at_once(*_, **__):  # type: ignore[no-untyped-def]
    """In place of `Examiner.examine`: an examination that is new to the ledger."""
    return replace(ANSWER, scan=replace(SCAN, content_sha256=f"{uuid4().int:064x}"))


def run_worker() -> None:
    """`susy worker`, whose every image has a ready answer."""
    from worker.cli.services.work import worker
    from worker.pipeline.examine import Examiner
    from worker.queue import runtime
    from worker.sources.fetched import Fetched
    from worker.sources.sources import Sources

    Sources.read = lambda *_, **__: Fetched(b"")  # type: ignore[method-assign]
    runtime.Detector = ReadyAnswer  # type: ignore[assignment,misc]
    Examiner.examine = answer_at_once  # type: ignore[method-assign]
    worker()


if __name__ == "__main__":
    main()
