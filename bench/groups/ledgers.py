"""What the ledger and the queue cost, without an image."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psutil
import psycopg
import redis

from bench import ledger
from bench.figures import Figure
from bench.groups.pace import Pace
from bench.servers import servers
from schema.messages import Submission
from worker.store import Store

LEDGER_RATE = "submit, claim and record, 4 threads"


def database(pace: Pace) -> list[Figure]:
    """What submitting, claiming and recording a check costs Postgres."""
    checks, figures = 400 if pace.quick else 2000, dict[str, list[float]]()
    with servers() as running:
        url = running.new_database("capacity")
        with Store(url, pool_size=4) as store, psycopg.connect(url, autocommit=True) as watch:
            postmaster = psutil.Process(watch.info.backend_pid).parent()
            assert postmaster is not None

            def state() -> tuple[float, float, float]:
                cpu = sum(sum(child.cpu_times()[:2]) for child in postmaster.children())
                row = watch.execute(
                    "SELECT pg_database_size(current_database())::float8, (pg_current_wal_lsn() - '0/0')::float8"
                ).fetchone()
                assert row is not None
                return cpu, row[0], row[1]

            def work(_: int) -> None:
                receipt = store.submit(Submission(source="bench", uri="/images/1.jpg", external_id=str(uuid4())))
                store.mark_dispatched([receipt.check_id])
                ledger.claim_and_record(store, receipt.check_id)

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(work, range(100)))  # connections and caches
                for _ in pace.rounds(3, 7):
                    before, began = state(), time.perf_counter()
                    list(pool.map(work, range(checks)))
                    took = time.perf_counter() - began
                    spent = [(now - then) / checks for now, then in zip(state(), before, strict=True)]
                    figures.setdefault("rate", []).append(checks / took)
                    for name, value in zip(("cpu", "size", "wal"), spent, strict=True):
                        figures.setdefault(name, []).append(value)
    return [
        Figure.of(LEDGER_RATE, figures["rate"], "checks/s"),
        Figure.of("Postgres, CPU per check", [1e3 * value for value in figures["cpu"]], "ms"),
        Figure.of("Postgres, size per check", figures["size"], "bytes"),
        Figure.of("Postgres, write-ahead log per check", figures["wal"], "bytes"),
    ]


def ledger_cost(pace: Pace) -> list[Figure]:
    """A worker's CPU for all but the image, and its share of a check of 640×480 in float32."""
    with servers() as running, redis.Redis.from_url(running.redis_url) as client:
        checks = 600 if pace.quick else 3000
        before = client.info("stats")
        costs, _, rates = ledger.worker_costs(running, checks)
        after = client.info("stats")
    given = (1 + ledger.BURSTS) * checks + ledger.WARM_UP
    names = ("total_net_input_bytes", "total_net_output_bytes")
    return [
        Figure.of("ledger and queue, CPU per check", [1e3 * cost for cost in costs], "ms", "≤ 3"),
        Figure.of(
            "Redis, commands per check",
            [(after["total_commands_processed"] - before["total_commands_processed"]) / given],
            "commands",
        ),
        Figure.of("Redis, traffic per check", [sum(after[name] - before[name] for name in names) / given], "bytes"),
        Figure.of("one worker process with ready answers", rates, "checks/s"),
    ]
