"""How fast `susy policy backtest` decides the scans in a ledger again.

    python -m bench.backtest [--scans 100000] [--rounds 3]

The scans have 24 tiles of six classes, five of them scored, as an image of 1.2 megapixels has that is not suspicious,
and every tenth has all scored. One process, beside the embedded Postgres.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import psycopg

from bench.servers import servers
from schema.scan import Scan
from tests.support.ledger import claimed, examination
from tests.support.scans import scan_of
from worker.lab.backtest import backtest
from worker.policy.policy import Policy
from worker.store import Store

DIFFERENT = 200
"""Scans that are written one by one; the others are copies of them."""
PLAN_COPIES = """
    CREATE TEMPORARY TABLE copies AS
    SELECT gen_random_uuid() AS check_id, gen_random_uuid() AS scan_id, v.id AS of_verdict, v.check_id AS of_check,
        v.scan_id AS of_scan
    FROM susy.verdicts AS v CROSS JOIN generate_series(1, %(copies)s)
"""
COPY = (
    """
    INSERT INTO susy.scans
    SELECT (jsonb_populate_record(s, jsonb_build_object(
        'id', k.scan_id, 'content_sha256', md5(k.scan_id::text) || md5(k.check_id::text)
    ))).*
    FROM copies AS k JOIN susy.scans AS s ON s.id = k.of_scan""",
    """
    INSERT INTO susy.checks
    SELECT (jsonb_populate_record(c, jsonb_build_object('id', k.check_id, 'external_id', k.check_id))).*
    FROM copies AS k JOIN susy.checks AS c ON c.id = k.of_check""",
    """
    INSERT INTO susy.verdicts
    SELECT (jsonb_populate_record(v, jsonb_build_object(
        'id', gen_random_uuid(), 'check_id', k.check_id, 'scan_id', k.scan_id
    ))).*
    FROM copies AS k JOIN susy.verdicts AS v ON v.id = k.of_verdict""",
)
CANDIDATE = Policy(name="candidate", synthetic_at=0.8, authentic_below=0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with servers() as running, Store(url := running.new_database("backtest"), pool_size=2) as store:
        print(f"{running.describe()}.\n", flush=True)
        fill(store, url, options.scans)
        rates = []
        for _ in range(options.rounds):
            began, cpu = time.perf_counter(), time.process_time()
            result = backtest(CANDIDATE, store.policies.decided_scans())
            elapsed = time.perf_counter() - began
            rates.append(result.checks / elapsed)
            print(
                f"{result.checks} scans in {elapsed:.1f} s, {1e6 * (time.process_time() - cpu) / result.checks:.0f} µs "
                f"of CPU for each, {sum(result.flips.values())} flips",
                flush=True,
            )
    rate = statistics.median(rates)
    spread = f"{min(rates):.0f}–{max(rates):.0f}"
    print(f"\nmedian {rate:.0f} scans a second ({spread}); two millions in {2e6 / rate / 60:.1f} min")


def fill(store: Store, database_url: str, count: int, map_every: int = 10) -> None:
    """Record some scans, and copy them until there are `count`; every so many have all tiles scored."""
    random = np.random.default_rng(1)
    for number in range(DIFFERENT):
        claim = claimed(store)
        store.record(claim, examination(_scan(random, number, map_every)))
    copies = count // DIFFERENT - 1
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(PLAN_COPIES, {"copies": copies})
        for statement in COPY:
            connection.execute(statement)
        connection.execute("ANALYZE")


def _scan(random: np.random.Generator, number: int, map_every: int) -> Scan:
    authentic = random.beta(0.5, 0.5, 24)
    scored = 24 if number % map_every == 0 else 5
    values = [float(p) if place < scored else None for place, p in enumerate(authentic)]
    return scan_of(values, width=1344, height=896, content=f"{number:064x}")


if __name__ == "__main__":
    main()
