"""Submissions per second through `susy serve`, beside the Postgres that it writes to.

    python -m bench.serve [--seconds 10] [--rounds 3] [--workers 1]

The real command, its access log included, on embedded Postgres and Valkey, and a client of few instructions on the same
machine. Throughput: as many requests as 32 connections can send. Latency: requests at fixed times at half of that rate,
measured from when each was due, so that a stall counts for all that wait behind it. CPU time is read from the kernel.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psutil
import psycopg

from bench.servers import Servers, servers
from schema.access import Scope
from tests.support.http_service import Client
from tests.support.servers import free_port
from tests.support.waiting import eventually
from worker.store import Store

CONNECTIONS = 32
_numbers = count()


@dataclass
class Load:
    """A kind of request, and what was measured of it."""

    name: str
    items: int
    rates: list[float] = field(default_factory=list)
    """Checks per second, per round."""
    latencies: list[float] = field(default_factory=list)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds per check of each program, per round."""

    def body(self) -> bytes:
        items = [
            {"source": "bench", "external_id": str(next(_numbers)), "uri": "/images/2026/01/31/upload.jpg",
             "attributes": {"country": "NZ", "surface": "profile"}}
            for _ in range(self.items)
        ]  # fmt: skip
        return json.dumps(items[0] if self.items == 1 else items).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    loads = [Load("one by one", 1), Load("in lists of 50", 50)]
    with servers() as running, service(running, options.workers) as (port, key, process):
        programs = {"serve": process, "postgres": postmaster(running.database_url)}
        print(f"{running.describe()}. {options.workers} serve process(es), {os.cpu_count()} cores.\n", flush=True)
        for load in loads:
            asyncio.run(closed_loop(load, port, key, 2.0))  # connections, imports, plans
        for _ in range(options.rounds):
            for load in loads:
                before = cpu_times(programs)
                done = asyncio.run(closed_loop(load, port, key, options.seconds))
                load.rates.append(done / options.seconds)
                for program, seconds in cpu_times(programs).items():
                    load.cpu.setdefault(program, []).append((seconds - before[program]) / done * 1000)
        for load in loads:
            rate = statistics.median(load.rates) / load.items / 2
            load.latencies = asyncio.run(open_loop(load, port, key, rate, options.seconds * options.rounds / 2))
    print(
        "| | checks/s: median (range) | p50, ms | p99, ms | CPU per check, ms: serve | Postgres |\n"
        "|---|---|---|---|---|---|"
    )
    for load in loads:
        ordered = sorted(load.latencies)
        p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
        cpu = " | ".join(f"{statistics.median(load.cpu[program]):.2f}" for program in ("serve", "postgres"))
        rates = f"{statistics.median(load.rates):,.0f} ({min(load.rates):,.0f}–{max(load.rates):,.0f})"
        print(f"| {load.name} | {rates} | {p50:.1f} | {p99:.1f} | {cpu} |")


@contextmanager
def service(running: Servers, workers: int) -> Iterator[tuple[int, str, psutil.Process]]:
    """`susy serve` on a new database: its port, a key, its process."""
    database_url = running.new_database("serve")
    with Store(database_url, pool_size=1) as store:
        key = store.keys.add("bench", [Scope.SUBMIT])
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SUSY_")} | {
        "SUSY_DATABASE_URL": database_url,
        "SUSY_REDIS_URL": running.redis_url,
        "SUSY_SERVE_PORT": str(port),
        "SUSY_SERVE_WORKERS": str(workers),
        "SUSY_SERVE_RATE": "1000000",
        "SUSY_LOG_FORMAT": "json",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "serve"],
        env=environment,
        cwd=Path(__file__).parents[1],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            eventually(lambda: answers(f"http://127.0.0.1:{port}"), 60)
            yield port, key, psutil.Process(process.pid)
        finally:
            process.terminate()
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM susy.checks").fetchone()
    assert row is not None
    print(f"\n{row[0]:,} checks are in the ledger.", flush=True)


def answers(url: str) -> bool:
    try:
        return Client(url).get("/readyz").status == 200
    except OSError:
        return False


def postmaster(database_url: str) -> psutil.Process:
    """The server's first process, the parent of all others."""
    with psycopg.connect(database_url) as connection:
        parent = psutil.Process(connection.info.backend_pid).parent()
    assert parent is not None
    return parent


def cpu_times(programs: dict[str, psutil.Process]) -> dict[str, float]:
    """CPU seconds that each program's processes have used, those that have ended included."""
    return {name: _with_children(process) for name, process in programs.items()}


def _with_children(process: psutil.Process) -> float:
    own = process.cpu_times()
    seconds: float = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        times = child.cpu_times()
        seconds += times.user + times.system
    return seconds


async def closed_loop(load: Load, port: int, key: str, seconds: float) -> int:
    """Send on all connections until the time is over; how many checks were accepted."""
    until = time.perf_counter() + seconds

    async def send() -> int:
        connection = await Connection.open(port, key)
        done = 0
        while time.perf_counter() < until:
            await connection.post(load.body())
            done += load.items
        connection.close()
        return done

    return sum(await asyncio.gather(*(send() for _ in range(CONNECTIONS))))


async def open_loop(load: Load, port: int, key: str, rate: float, seconds: float) -> list[float]:
    """Send `rate` requests per second; the seconds from when each was due to its answer."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(4 * CONNECTIONS):
        free.put_nowait(await Connection.open(port, key))
    latencies = []

    async def send(due: float) -> None:
        connection = await free.get()
        await connection.post(load.body())
        latencies.append(time.perf_counter() - due)
        free.put_nowait(connection)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(send(due))
    while not free.empty():
        free.get_nowait().close()
    return latencies


@dataclass
class Connection:
    """A kept connection that posts bodies and reads the answers."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes

    @classmethod
    async def open(cls, port: int, key: str) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            f"POST /v1/checks HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        return cls(reader, writer, head.encode())

    async def post(self, body: bytes) -> None:
        self.writer.write(b"%s%d\r\n\r\n%s" % (self.head, len(body), body))
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 202"), head
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self.reader.readexactly(length)

    def close(self) -> None:
        self.writer.close()


if __name__ == "__main__":
    main()
