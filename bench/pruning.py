"""What `susy prune` costs the queue beside it, and whether the space it frees is used again.

    python -m bench.pruning [--rows 200000] [--rounds 8] [--database-url URL]

Fills an embedded Postgres as `bench.ledger_scale` does, or takes a database that it filled. Rounds of claiming and
recording alternate between a ledger at rest and one that is being pruned, so that a busy machine slows both. Then as
many checks as were pruned are written again, after a vacuum, and the size of the tables is compared.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg

from bench.ledger import claim_and_record
from bench.ledger_scale import TABLES, fill
from bench.servers import FILL, median, servers
from schema.states import Lane
from worker.store import Store
from worker.store.pruning import Pruned, PruneFilter

PER_ROUND = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--older-than", type=float, default=45, help="Days.")
    parser.add_argument("--database-url", help="A database that `bench.ledger_scale` filled.")
    options = parser.parse_args()
    if options.database_url is not None:
        report(options.database_url, options.rounds, options.older_than)
        return
    with servers() as running:
        url = running.new_database("pruning")
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection, options.rows, 90)
        report(url, options.rounds, options.older_than)


def report(url: str, rounds: int, days: float) -> None:
    """Measure and print."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL, {"rows": 2 * rounds * PER_ROUND})
    with Store(url, pool_size=1) as store, Store(url, pool_size=1) as pruner:
        before = sizes(url)
        batches = pruner.prune(PruneFilter(store.now() - timedelta(days=days)))
        costs: dict[str, list[float]] = {"at rest": [], "while pruning": []}
        total, busy = Pruned(), 0.0
        for _ in range(rounds):
            costs["at rest"].append(claims(store))
            stopped = threading.Event()
            found: list[tuple[Pruned, float]] = []
            thread = threading.Thread(target=keep_pruning, args=(batches, stopped, found))
            thread.start()
            costs["while pruning"].append(claims(store))
            stopped.set()
            thread.join()
            total += sum((pruned for pruned, _ in found), Pruned())
            busy += sum(seconds for _, seconds in found)
    ratios = [slow / fast for fast, slow in zip(*costs.values(), strict=True)]
    print("| the ledger | claim and record, ms a check: median (range) |\n|---|---|")
    for name, seconds in costs.items():
        print(f"| {name} | {median(seconds)} |")
    print(f"\nRatio of the two in each round: {median(ratios, 1)}.")
    print(f"{total.checks:,} checks pruned in {busy:.1f} s of pruning: {total.checks / busy:,.0f}/s; {total}.\n")
    with psycopg.connect(url, autocommit=True) as connection:
        started = time.monotonic()
        connection.execute("VACUUM (ANALYZE, INDEX_CLEANUP ON)")  # as when 2 % of the pages have dead rows
        print(f"vacuum: {time.monotonic() - started:.1f} s")
        after = sizes(url)
        fill(connection, total.checks, 30, first=10**9)
    refilled = sizes(url)
    print("| table | MB before | after pruning and vacuum | after as many new checks |\n|---|---|---|---|")
    for table in TABLES:
        print(f"| `{table}` | {before[table]:.1f} | {after[table]:.1f} | {refilled[table]:.1f} |")


def keep_pruning(batches: Iterator[Pruned], stopped: threading.Event, found: list[tuple[Pruned, float]]) -> None:
    """Prune a batch after the other, and rest as long as each took, as the command does."""
    while not stopped.is_set():
        started = time.perf_counter()
        pruned = next(batches, None)
        if pruned is None:
            return
        found.append((pruned, time.perf_counter() - started))
        stopped.wait(found[-1][1])


def claims(store: Store) -> float:
    """Seconds that a check takes to be claimed and recorded, on average."""
    due = store.take_due(Lane.BACKFILL, limit=PER_ROUND)
    return sum(claim_and_record(store, check_id) for check_id in due) / len(due)


def sizes(url: str) -> dict[str, float]:
    """Megabytes of each table with its indexes."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT name, pg_total_relation_size('susy.' || name) / 1e6 FROM unnest(%s::text[]) AS name", [list(TABLES)]
        )
        return {name: float(size) for name, size in rows}


if __name__ == "__main__":
    main()
