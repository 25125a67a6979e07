"""Importing a manifest of a million lines while a worker works: how fast, and whether memory stays as it is.

    python -m bench.import_manifest [--lines 1000000]

The worker is the one of `bench.ledger`, whose images have a ready answer; it takes what the reconciler feeds to Redis.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import redis

from bench.servers import servers

EVERY = 0.25
"""Seconds between two looks."""
WARM_AFTER = 0.1
"""Part of the import after which memory should stay as it is."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory(prefix="susy-bench-") as name, servers() as running:
        folder = Path(name)
        manifest = folder / "manifest.csv"
        with manifest.open("w") as file:
            file.write("uri,external_id,source,country\n")
            file.writelines(f"/images/uploads/{n // 1000}/{n}.jpg,upload-{n},source-{n % 7},NZ\n" for n in range(lines))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SUSY_")} | {
            "SUSY_DATABASE_URL": running.new_database("import"),
            "SUSY_REDIS_URL": running.redis_url,
            "SUSY_IMAGE_ROOTS": str(folder),
            "PYTHONPATH": str(Path.cwd()),
        }
        with (
            process("-m", "bench.ledger", "--worker", folder=folder, environment=environment) as worker,
            process("-m", "worker", "reconciler", folder=folder, environment=environment),
            redis.Redis.from_url(running.redis_url) as client,
        ):
            time.sleep(15)
            started = time.monotonic()
            command = [sys.executable, "-m", "worker", "backlog", "import", str(manifest), "--no-check-files", "--json"]
            with subprocess.Popen(
                command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as importer:
                samples = list(looks(importer, worker, client))
                seconds = time.monotonic() - started
                output, errors = importer.communicate()
            assert importer.returncode == 0, errors.decode()
            summary = json.loads(output)
            with psycopg.connect(environment["SUSY_DATABASE_URL"]) as connection:
                row = connection.execute("SELECT count(*), count(*) FILTER (WHERE state = 'done') FROM susy.checks")
                accepted, done = row.fetchone() or (0, 0)
        assert accepted == summary["accepted"] == lines
        print(f"{running.describe()}.\n")
        print(f"{lines:,} lines ({manifest.stat().st_size / 1e6:.0f} MB) in {seconds:.0f} s:")
        print(f"{lines / seconds:,.0f} lines a second; the worker did {done:,} checks meanwhile.\n")
        warm = samples[int(len(samples) * WARM_AFTER) :]
        print("| after the first tenth | lowest | highest | spread |\n|---|---|---|---|")
        for index, what in enumerate(("importer's memory, MB", "worker's memory, MB", "Redis' memory, MB")):
            values = [sample[index] / 1e6 for sample in warm]
            print(f"| {what} | {min(values):.1f} | {max(values):.1f} | {max(values) - min(values):.1f} |")
        depths = [sample[3] for sample in warm]
        print(f"| messages in Redis | {min(depths)} | {max(depths)} | |")


@contextmanager
def process(*arguments: str, folder: Path, environment: dict[str, str]) -> Iterator[psutil.Process]:
    """A Python process that ends with the block."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.DEVNULL) as started:
        try:
            yield psutil.Process(started.pid)
        finally:
            started.terminate()


def looks(
    importer: subprocess.Popen[bytes], worker: psutil.Process, client: redis.Redis
) -> Iterator[tuple[int, int, int, int]]:
    """Memory of the importer, the worker and Redis, and messages in Redis, until the import ends."""
    watched = psutil.Process(importer.pid)
    while importer.poll() is None:
        try:
            importing = watched.memory_info().rss
        except psutil.NoSuchProcess:
            return
        if importing:
            in_redis = client.info("memory")["used_memory"]
            yield importing, worker.memory_info().rss, in_redis, client.llen("susy:backfill") + client.llen("susy:live")
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
