"""How fast `susy policy apply` decides again about checks, and what it costs here and in Postgres.

    python -m bench.apply_policy [--scans 20000] [--map-every 10]

The scans are those of bench/backtest.py, of which every tenth has all its 24 tiles scored. Two policies are applied in
turn that differ in their thresholds: the first looks for regions, as nothing is known of the policy before; the second
keeps them. The last one looks for regions by another level, so that all are looked for again: with `--map-every 1` in
every image, of which each has three.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from uuid import UUID

import psycopg

from bench.backtest import CANDIDATE, fill
from bench.servers import servers
from schema.verdict import PolicyVersion
from worker.lab.apply_policy import apply_policy
from worker.policy.policy import Policy
from worker.store import Replacement, Store

OTHER = Policy(name="candidate", synthetic_at=0.7, authentic_below=0.3)
SEARCHING = Policy(name="candidate", synthetic_at=0.7, authentic_below=0.3, region_at=0.91)
_CLOCK_TICKS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=20_000)
    parser.add_argument("--map-every", type=int, default=10)
    options = parser.parse_args()
    known: dict[PolicyVersion, Policy] = {}
    with servers() as running, Store(url := running.new_database("apply"), pool_size=2) as store:
        print(f"{running.describe()}.\n", flush=True)
        fill(store, url, options.scans, options.map_every)
        for policy in (CANDIDATE, OTHER, CANDIDATE, SEARCHING):
            store.policies.put(policy.version, policy.document)
            known[policy.version] = policy
            application = store.applications.begin(policy.version, {}, applied_by="bench")
            server, began, cpu = _server_seconds(url), time.perf_counter(), time.process_time()
            result = apply_policy(
                policy,
                store.policies.decided_scans(unless_by=policy.version),
                partial(_replace, store, application, policy),
                find_policy=known.get,
            )
            elapsed = time.perf_counter() - began
            here = 1e6 * (time.process_time() - cpu) / result.checks
            there = 1e6 * (_server_seconds(url) - server) / result.checks
            print(
                f"{result.checks} checks in {elapsed:.1f} s, {result.checks / elapsed:.0f} per second; {here:.0f} µs "
                f"of CPU here and {there:.0f} µs in Postgres for each; {result.changed} decisions changed",
                flush=True,
            )


def _replace(store: Store, application: int, policy: Policy, made: Mapping[UUID, Replacement]) -> set[UUID]:
    return store.applications.replace(application, policy.version, made)


def _server_seconds(database_url: str) -> float:
    """CPU seconds of the server's processes, those that have ended included."""
    with psycopg.connect(database_url) as connection:
        pids = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity").fetchall()]
    stats = [stat for pid in pids if (stat := _stat(pid))]
    parent = _stat(int(stats[0][1]))
    ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats) + int(parent[13]) + int(parent[14])
    return ticks / _CLOCK_TICKS


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


if __name__ == "__main__":
    main()
