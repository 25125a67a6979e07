"""What a dashboard that holds a snapshot open costs the queue: nothing that dies meanwhile can be cleaned up.

    python -m bench.dead_rows [--rows 200000] [--passing 100000] [--rounds 5]

Two databases hold the same checks. In one a transaction keeps its snapshot while `--passing` checks go through the
ledger by the workers' own statements, in the other none does. Then the statements of reconciler and worker are timed on
both in turn. Autovacuum runs as the schema sets it, and `VACUUM` is run once before the clock starts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack

import psycopg

from bench.ledger import claim_and_record
from bench.servers import FILL, median, servers
from schema.states import Lane
from worker.store import Store

PASS = """
UPDATE susy.checks SET state = 'running', attempts = 1, lease_token = gen_random_uuid(), worker = 'bench',
    lease_until = now() + interval '1 minute', started_at = now()
WHERE id = ANY(%(ids)s);
UPDATE susy.checks SET lease_until = now() + interval '2 minutes' WHERE id = ANY(%(ids)s);
UPDATE susy.checks SET state = 'done', finished_at = now(), content_sha256 = md5(id::text) || md5(id::text),
    lease_token = NULL, lease_until = NULL
WHERE id = ANY(%(ids)s);
"""
"""What claim, heartbeat and record do to the rows, for many at once."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--passing", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with servers() as running, ExitStack() as stack:
        print(f"{running.describe()}.", flush=True)
        urls = {name: running.new_database(name) for name in ("free", "held")}
        stores = {name: stack.enter_context(Store(url, pool_size=1)) for name, url in urls.items()}
        for url in urls.values():
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(FILL, {"rows": options.rows})
                connection.execute("VACUUM ANALYZE susy.checks")
        dashboard = stack.enter_context(psycopg.connect(urls["held"]))
        dashboard.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        dashboard.execute("SELECT count(*) FROM dashboard.backlog")
        for name, url in urls.items():
            started = time.monotonic()
            let_pass(stores[name], url, options.passing)
            print(f"{options.passing:,} checks passed in {name} in {time.monotonic() - started:.0f} s", flush=True)
        # What autovacuum does within a minute where it can.
        for url in urls.values():
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM susy.checks")
        report(stores, options.rounds)


def let_pass(store: Store, url: str, count: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        passed = 0
        while passed < count:
            ids = store.take_due(Lane.BACKFILL, limit=500)
            for statement in PASS.strip().split(";")[:-1]:
                connection.execute(statement, {"ids": ids})
            passed += len(ids)


def report(stores: dict[str, Store], rounds: int) -> None:
    operations: dict[str, Callable[[Store], object]] = {
        "choosing 64 due checks": lambda store: store.take_due(Lane.BACKFILL, limit=64),
        "choosing 500": lambda store: store.take_due(Lane.BACKFILL, limit=500),
        "reclaiming expired leases": lambda store: store.reclaim_expired(max_attempts=5, limit=500),
        "`backlog status`": lambda store: store.status(),
        "claim and record, 50 checks": lambda store: [
            claim_and_record(store, check_id) for check_id in store.take_due(Lane.BACKFILL, limit=50)
        ],
    }
    print("\n| | ms, no snapshot | ms, snapshot held | ratio in each round |\n|---|---|---|---|")
    for name, operation in operations.items():
        times: dict[str, list[float]] = {"free": [], "held": []}
        for _ in range(rounds + 1):
            for place, store in stores.items():
                started = time.perf_counter()
                operation(store)
                times[place].append(time.perf_counter() - started)
        free, held = times["free"][1:], times["held"][1:]
        ratios = [slow / fast for fast, slow in zip(free, held, strict=True)]
        print(f"| {name} | {median(free)} | {median(held)} | {median(ratios, 1)} |", flush=True)


if __name__ == "__main__":
    main()
