"""What callbacks cost: deliveries per second, the time from a verdict to its callback, the event's share of a verdict.

    python -m bench.callbacks [--deliveries 3000] [--verdicts 400] [--rounds 15]

The receiver is a process of its own (uvicorn), which verifies every callback by the library of Standard Webhooks. The
deliverer is `susy deliver`, a process too. Postgres and all of them share this machine's cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import psycopg

from bench.ledger import claim_and_record
from bench.servers import Servers, median, servers
from schema.messages import Submission
from schema.states import KeyKind
from tests.support.servers import free_port
from tests.support.waiting import eventually
from worker.callbacks.signing import SigningKey
from worker.store import CheckFilter, Store
from worker.store.callbacks import CallbackStore

PER_ROUND = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=3000)
    parser.add_argument("--verdicts", type=int, default=400)
    parser.add_argument("--rate", type=float, default=100.0, help="verdicts per second whose way is measured")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--receiver", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receiver:
        receive(*options.receiver)
        return
    with servers() as running:
        print(f"{running.describe()}.\n", flush=True)
        compare_verdicts(running, options.rounds)
        for kind in KeyKind:
            measure_deliveries(running, kind, options.deliveries)
        measure_way(running, options.verdicts, options.rate)


# --- The event's share of a verdict


def compare_verdicts(running: Servers, rounds: int) -> None:
    """Rounds alternate between a database with the triggers and one without."""
    urls = {name: running.new_database(f"verdicts_{name}") for name in ("with", "without")}
    with psycopg.connect(urls["without"], autocommit=True) as connection:
        connection.execute("ALTER TABLE susy.checks DISABLE TRIGGER checks_add_event")
    seconds: dict[str, list[float]] = {name: [] for name in urls}
    server: dict[str, list[float]] = {name: [] for name in urls}
    with Store(urls["with"], pool_size=1) as first, Store(urls["without"], pool_size=1) as second:
        for number in range(rounds + 2):
            spent = dict.fromkeys(urls, 0.0)
            used = dict.fromkeys(urls, 0.0)
            for _ in range(PER_ROUND):
                for name, store in {"with": first, "without": second}.items():
                    before = backend_cpu(store)
                    spent[name] += claim_and_record(store, submit(store))
                    used[name] += backend_cpu(store) - before
            if number >= 2:  # what comes before warms caches
                for name in urls:
                    seconds[name].append(spent[name] / PER_ROUND)
                    server[name].append(used[name] / PER_ROUND)
    ratios = sorted(a / b for a, b in zip(seconds["with"], seconds["without"], strict=True))
    print("| claim and record | ms a check: median (range) | CPU ms of Postgres, mean |\n|---|---|---|")
    for name in urls:
        print(f"| {name} the event | {median(seconds[name])} | {statistics.mean(server[name]) * 1000:.3f} |")
    print(f"\nRatio of the two in each round: {median(ratios, 1)}.", flush=True)
    with Store(urls["with"], pool_size=1) as store:
        count, after, began, before = 0, 0, time.perf_counter(), backend_cpu(store)
        while page := store.events_after(after, limit=500):
            count, after = count + len(page), page[-1].position
        taken, used_cpu = time.perf_counter() - began, backend_cpu(store) - before
    print(
        f"Giving positions and reading in order: {count / taken:,.0f} events a second,"
        f" {used_cpu / count * 1000:.3f} CPU ms of Postgres each.\n",
        flush=True,
    )


def submit(store: Store) -> UUID:
    return store.submit(Submission(source="bench", uri="/images/1.jpg")).check_id


def backend_cpu(store: Store) -> float:
    """CPU seconds of the Postgres process behind the store's only connection, to the nanosecond."""
    with store._database.connection() as connection:
        used = Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()[0]
    return int(used) / 1e9


# --- Delivering


def measure_deliveries(running: Servers, kind: KeyKind, count: int) -> None:
    """A backlog of callbacks to one endpoint, delivered by one process."""
    url = running.new_database(f"deliveries_{kind}")
    with receiver(url, kind) as log, Store(url, pool_size=1) as store:
        for start in range(0, count, 1000):
            store.submit_each(
                Submission(source="bench", external_id=str(number), uri="/images/1.jpg", attributes={"surface": "feed"})
                for number in range(start, min(start + 1000, count))
            )
            store.cancel(CheckFilter(source="bench"), limit=1000)
        with deliverer(url) as process:
            eventually(lambda: lines(log), 60)
            used = sum(process.cpu_times()[:2])
            before, began = len(lines(log)), time.monotonic()
            eventually(lambda: len(lines(log)) >= count, 300)
            taken = time.monotonic() - began
            used = sum(process.cpu_times()[:2]) - used
        received = lines(log)
    assert all(line["ok"] for line in received)
    assert len({line["id"] for line in received}) == count
    done = len(received) - before
    print(
        f"{kind}: {done / taken:,.0f} deliveries a second to one endpoint ({done:,} in {taken:.1f} s),"
        f" {used / done * 1000:.2f} CPU ms of the deliverer each; {len(received) - count} sent twice.",
        flush=True,
    )


def measure_way(running: Servers, count: int, rate: float) -> None:
    """From the commit of a verdict to the callback's arrival."""
    url = running.new_database("way")
    committed: dict[str, float] = {}
    with receiver(url, KeyKind.HMAC) as log, Store(url, pool_size=1) as store, deliverer(url):
        claim_and_record(store, submit(store))
        eventually(lambda: lines(log), 60)
        due = time.monotonic()
        for _ in range(count):
            check_id = submit(store)
            claim_and_record(store, check_id)
            committed[str(check_id)] = time.monotonic()
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))
        eventually(lambda: len(lines(log)) > count, 60)
        received = lines(log)
    ways = sorted(line["at"] - committed[line["check"]] for line in received if line["check"] in committed)
    assert len(ways) == count
    print(
        f"\nFrom verdict to received callback, at {rate:.0f} verdicts a second, ms: p50 {ways[count // 2] * 1000:.0f},"
        f" p99 {ways[int(count * 0.99)] * 1000:.0f}, longest {ways[-1] * 1000:.0f}.",
        flush=True,
    )


@contextlib.contextmanager
def receiver(database_url: str, kind: KeyKind) -> Iterator[Path]:
    """A receiver whose endpoint is registered; the file to which it writes a line per callback."""
    key, port = SigningKey.new(kind), free_port()
    with CallbackStore(database_url, pool_size=1) as store, tempfile.TemporaryDirectory() as folder:
        store.add_endpoint(
            name="bench",
            url=f"http://127.0.0.1:{port}/hooks",
            sources=["bench"],
            allow_private=True,
            kind=kind,
            secret=key.secret,
        )
        log = Path(folder) / "received.jsonl"
        log.touch()
        command = [sys.executable, "-m", "bench.callbacks", "--receiver", str(port), key.shared, str(log)]
        with subprocess.Popen(command) as process:
            try:
                eventually(lambda: _answers(port), 30)
                yield log
            finally:
                process.terminate()


@contextlib.contextmanager
def deliverer(database_url: str) -> Iterator[psutil.Process]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SUSY_")}
    environment |= {"SUSY_DATABASE_URL": database_url, "SUSY_LOG_LEVEL": "WARNING"}
    with subprocess.Popen([sys.executable, "-m", "worker", "deliver"], env=environment) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


def lines(log: Path) -> list[dict[str, object]]:  # type: ignore[type-arg,unused-ignore]
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _answers(port: int) -> bool:
    import socket

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def receive(port: str, shared: str, log: str) -> None:
    """The receiver's process."""
    import base64

    import uvicorn
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from standardwebhooks import Webhook

    output = Path(log).open("a", buffering=1)  # noqa: SIM115

    def verify_ed25519(body: bytes, headers: dict[str, str]) -> None:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(shared.removeprefix("whpk_")))
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        public.verify(base64.b64decode(headers["webhook-signature"].removeprefix("v1a,")), content)

    def verify(body: bytes, headers: dict[str, str]) -> None:
        if shared.startswith("whsec_"):
            Webhook(shared).verify(body, headers, json_parse=False)
        else:
            verify_ed25519(body, headers)

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        if scope["type"] != "http":
            return
        at = time.monotonic()
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        verify(body, headers)
        check = json.loads(body)["data"]["check_id"]
        output.write(json.dumps({"id": headers["webhook-id"], "check": check, "at": at, "ok": True}) + "\n")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
