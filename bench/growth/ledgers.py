"""What claiming, recording and `backlog status` cost Postgres, against the queue's length and the ledger's rows.

What is counted is the CPU time of the backend that serves the statements, from the kernel's scheduler (nanoseconds):
other work on the machine hardly changes it. The elapsed time is kept beside it, since a backend that waits for the
disk uses no CPU. All databases exist at the same time, and each round goes through all of them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import LiteralString
from uuid import UUID

import psycopg

from bench.growth.series import Part, Series
from bench.ledger import SCAN
from bench.ledger_scale import fill
from bench.machine import describe
from bench.servers import FILL, Servers
from schema.states import Lane
from tests.support.ledger import examination
from worker.store import Store

QUEUES = (10**3, 10**4, 10**5, 10**6)
ROWS = (10**4, 10**5, 10**6, 5 * 10**6)
"""10⁷ rows with scans and verdicts take more than 30 GB; `--rows 1e7` measures them where there is room."""
WAITING = 1000
"""Checks that wait beside the rows of the ledger, as many in each database."""
DAYS = 90.0
PER_ROUND = 50
"""Checks that are claimed and recorded in each round."""
STATUSES = 5
CHOOSE = f"choosing {PER_ROUND} due checks"
"""What a dispatcher does; the other operations are those of one check, and of whoever looks."""
FILLED: LiteralString = "filled by bench.growth"


@dataclass
class Ledger:
    """One database of a certain size."""

    size: int
    store: Store
    watch: psycopg.Connection

    def refill(self) -> None:
        """As many waiting checks as a round takes away."""
        self.watch.execute(FILL, {"rows": PER_ROUND})

    def cost(self, work: Callable[[], object]) -> tuple[float, float]:
        """Milliseconds of the backend's CPU, and elapsed."""
        self.store.ping()
        row = self.watch.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchone()
        assert row is not None
        before, began = backend_cpu(row[0]), time.perf_counter()
        work()
        elapsed = time.perf_counter() - began
        time.sleep(0.003)  # the backend answers before it is done, and its time is added up when it sleeps
        return (backend_cpu(row[0]) - before) / 1e6, elapsed * 1e3


def backend_cpu(process: int) -> int:
    """Nanoseconds that a process has been on a CPU."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0])


def queue(running: Servers, *, sizes: Sequence[int] = QUEUES, rounds: int = 9) -> Part:
    """By checks that wait in the backfill lane, of two sources, in a ledger without other rows."""

    def fill_queue(connection: psycopg.Connection, size: int) -> None:
        connection.execute(FILL, {"rows": size})

    return _measure(
        "queue",
        "Cost against the length of the queue",
        "waiting checks",
        sizes,
        rounds,
        running,
        fill_queue,
        "`backlog status` counts up to 100,000 waiting checks of a lane one by one, and estimates a longer queue: "
        "it grows up to there by intent, and no further.",
    )


def rows(running: Servers, *, sizes: Sequence[int] = ROWS, rounds: int = 9) -> Part:
    """By checks that ended, each with scan and verdict, beside a thousand that wait."""

    def fill_rows(connection: psycopg.Connection, size: int) -> None:
        fill(connection, size, DAYS, show=size >= 10**6, waiting=0)
        connection.execute(FILL, {"rows": WAITING})

    return _measure(
        "rows",
        "Cost against the rows in the ledger",
        "checks that ended, over 90 days",
        sizes,
        rounds,
        running,
        fill_rows,
        f"Beside them, {WAITING:,} checks wait in each database.",
    )


def _measure(
    name: str,
    title: str,
    x_label: str,
    sizes: Sequence[int],
    rounds: int,
    running: Servers,
    filler: Callable[[psycopg.Connection, int], None],
    note: str,
) -> Part:
    machine = describe()
    cpu = {what: Series(what, is_bounded=what != CHOOSE) for what in (CHOOSE, "claim", "record", "backlog status")}
    elapsed = {what: Series(f"{what}, elapsed") for what in cpu}
    with ExitStack() as stack:
        ledgers = [stack.enter_context(_ledger(running, name, size, filler)) for size in sorted(sizes)]
        for number in range(rounds + 1):
            for ledger in ledgers:
                for what, (ticks, seconds) in _round(ledger).items():
                    if number:  # the first fills caches and prepares statements
                        cpu[what].add(ledger.size, ticks)
                        elapsed[what].add(ledger.size, seconds)
            print(f"{name}: round {number} of {rounds}", file=sys.stderr, flush=True)
    return Part(name, title, x_label, "Postgres' CPU, ms", [*cpu.values(), *elapsed.values()], machine, note)


@contextmanager
def _ledger(
    running: Servers, name: str, size: int, filler: Callable[[psycopg.Connection, int], None]
) -> Iterator[Ledger]:
    url = running.database(f"growth_{name}_{size}")
    with psycopg.connect(url, autocommit=True) as watch, Store(url, pool_size=1, statement_timeout=60) as store:
        if watch.execute("SELECT obj_description('susy'::regnamespace)").fetchone() != (FILLED,):
            if watch.execute("SELECT FROM susy.checks LIMIT 1").fetchone() is not None:
                raise SystemExit(f"an earlier run did not fill {size:,} rows to the end; delete what --folder names")
            began = time.monotonic()
            filler(watch, size)
            watch.execute(f"COMMENT ON SCHEMA susy IS '{FILLED}'")
            print(f"{name}: filled {size:,} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        watch.execute("VACUUM ANALYZE")
        yield Ledger(size, store, watch)


def _round(ledger: Ledger) -> dict[str, tuple[float, float]]:
    """What each operation costs now, (CPU ms, elapsed ms) of one."""
    store = ledger.store
    chosen: list[UUID] = []
    choose = ledger.cost(lambda: chosen.extend(store.take_due(Lane.BACKFILL, limit=PER_ROUND)))
    claims = []

    def claim() -> None:
        claims.extend(store.claim(check_id, worker="bench", lease=90, max_attempts=5) for check_id in chosen)

    claimed = ledger.cost(claim)
    outcomes = [examination(replace(SCAN, content_sha256=f"{check_id.int:064x}")) for check_id in chosen]

    def record() -> None:
        for held, outcome in zip(claims, outcomes, strict=True):
            assert held is not None
            store.record(held, outcome)

    recorded = ledger.cost(record)
    status = ledger.cost(lambda: [store.status() for _ in range(STATUSES)])
    ledger.refill()
    return {
        CHOOSE: choose,
        "claim": _each(claimed, len(chosen)),
        "record": _each(recorded, len(chosen)),
        "backlog status": _each(status, STATUSES),
    }


def _each(cost: tuple[float, float], count: int) -> tuple[float, float]:
    return cost[0] / count, cost[1] / count
