"""Images per second through Redis and Postgres, from the first submission to the last verdict.

    python -m bench.throughput [--rounds 3] [--images 48] [--busy-cores 0] [--reuploads 0.0]

Compares this project's worker in its default settings with two plain Celery workers (`bench/naive`) on the same files,
the same embedded servers and the same released network (a stand-in with random weights): five tiles, the reference
grid, no map. Candidates alternate within a round, and ratios are taken within it. The scores of all candidates are
compared before a ratio is printed. `--busy-cores` keeps that many cores busy with something else meanwhile.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import psycopg

from bench.pipeline import SIZES, photograph_like
from bench.servers import Servers, servers
from tests.support.released import random_susy, save_released
from worker.client import Client
from worker.detector.weights import save_weights
from worker.settings import load_settings

CHECKOUT = Path(__file__).parents[1]
CLASSES = ("authentic", *(f"generator-{number}" for number in range(1, 6)))
POLICY = 'name = "bench"\nsynthetic_at = 0.9\nauthentic_below = 0.1\nminimum_contrast = 0\nlocalize = "never"\n'
TOLERANCE = 1e-2
"""Largest difference of two candidates' scores. The ledger keeps probabilities as float16, and this project may compute
in reduced precision, whose tolerance of 5e-3 holds for trained weights, not for the random ones used here."""


@dataclass
class Run:
    """What one candidate did in one round."""

    rate: float
    """Images per second."""
    cpu: float
    """CPU seconds per image of its processes."""
    scores: dict[str, float] = field(repr=False)
    ready: float
    """Seconds from the start of its processes to the first verdict."""


class Product:
    """`susy worker` and a reconciler, in their default settings."""

    name = "this project"

    def __init__(self, folder: Path, running: Servers, options: dict[str, str] | None = None) -> None:
        (folder / "policy.toml").write_text(POLICY)
        self.url = running.new_database(f"product_{os.urandom(4).hex()}")
        self._environment = {
            "SUSY_DATABASE_URL": self.url,
            "SUSY_REDIS_URL": running.redis_url,
            "SUSY_IMAGE_ROOTS": str(folder),
            "SUSY_WEIGHTS": str(folder / "susy.safetensors"),
            "SUSY_POLICY_FILE": str(folder / "policy.toml"),
            "SUSY_TILING": "reference",
            "SUSY_DEVICE": "cpu",
            "SUSY_LOG_LEVEL": "WARNING",
            "SUSY_KEY_PREFIX": f"bench-{os.urandom(4).hex()}:",
            **(options or {}),
        }

    @contextmanager
    def started(self, log: Path) -> Iterator[list[psutil.Process]]:
        with _processes(
            [[sys.executable, "-m", "worker", name] for name in ("worker", "reconciler")], self, log
        ) as all_:
            yield all_

    def submit(self, paths: list[Path]) -> None:
        settings = load_settings(
            database_url=self.url,
            redis_url=self._environment["SUSY_REDIS_URL"],
            key_prefix=self._environment["SUSY_KEY_PREFIX"],
        )
        with Client(settings) as client:
            for path in paths:
                client.submit(source="bench", uri=str(path))

    def scores(self) -> dict[str, float]:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT uri, score FROM dashboard.checks WHERE state = 'done'")
            return {str(uri): float(score) for uri, score in rows}

    def done(self, connection: psycopg.Connection) -> int:
        query = "SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'quarantined')"
        done, failed = connection.execute(f"{query} FROM susy.checks").fetchone() or (0, 0)
        if failed:
            raise SystemExit(f"{failed} checks were quarantined; the run measures nothing")
        return int(done)

    @property
    def environment(self) -> dict[str, str]:
        return self._environment


class Naive:
    """A plain Celery worker: prefork with one child per core."""

    def __init__(self, folder: Path, running: Servers, contrast: str) -> None:
        from bench.naive.app import TABLE

        self.name = {"glcm": "plain Celery worker", "closed_form": "stronger Celery worker"}[contrast]
        self.url = running.new_database(f"naive_{os.urandom(4).hex()}")
        self.environment = {
            "NAIVE_DATABASE_URL": self.url,
            "NAIVE_REDIS_URL": f"{running.redis_url.rpartition('/')[0]}/{1 + ['glcm', 'closed_form'].index(contrast)}",
            "NAIVE_MODEL": str(folder / "SuSy.pt"),
            "NAIVE_CONTRAST": contrast,
        }
        with psycopg.connect(self.url) as connection:
            connection.execute(TABLE)

    @contextmanager
    def started(self, log: Path) -> Iterator[list[psutil.Process]]:
        cores = str(len(os.sched_getaffinity(0)))
        command = ["-m", "celery", "-A", "bench.naive.app", "worker", "--concurrency", cores, "--loglevel", "WARNING"]
        with _processes([[sys.executable, *command]], self, log) as processes:
            yield processes

    def submit(self, paths: list[Path]) -> None:
        from celery import Celery

        with Celery("naive", broker=self.environment["NAIVE_REDIS_URL"]) as app:
            for path in paths:
                app.send_task("bench.naive.app.check", [str(path)], queue="naive")

    def scores(self) -> dict[str, float]:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT path, score FROM results")
            return {str(path): float(score) for path, score in rows}

    def done(self, connection: psycopg.Connection) -> int:
        return int((connection.execute("SELECT count(*) FROM results").fetchone() or (0,))[0])


@contextmanager
def _processes(commands: list[list[str]], candidate: Product | Naive, log: Path) -> Iterator[list[psutil.Process]]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SUSY_", "NAIVE_"))}
    environment = clean | candidate.environment | {"PYTHONPATH": str(CHECKOUT)}
    with log.open("ab") as output:
        started = [
            subprocess.Popen(command, env=environment, cwd=CHECKOUT, stdout=output, stderr=output)
            for command in commands
        ]
    try:
        yield [psutil.Process(process.pid) for process in started]
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(60)


def measure(
    candidate: Product | Naive,
    warm_up: list[Path],
    paths: list[Path],
    log: Path,
    expected: dict[str, float] | None = None,
) -> Run:
    """Start the candidate, let it examine `warm_up`, then time `paths`.

    Nothing is timed if its scores of `warm_up` differ from the `expected` ones.
    """
    began = time.perf_counter()
    # One connection for the whole run: a new one for each look would cost Postgres a good part of a core.
    with candidate.started(log) as processes, psycopg.connect(candidate.url, autocommit=True) as connection:
        candidate.submit(warm_up)
        _wait(candidate, connection, 1, processes)
        ready = time.perf_counter() - began
        _wait(candidate, connection, len(warm_up), processes)
        if expected is not None:
            require_equal(candidate.name, candidate.scores(), expected)
        before = _cpu_seconds(processes)
        start = time.perf_counter()
        candidate.submit(paths)
        _wait(candidate, connection, len(warm_up) + len(paths), processes)
        seconds = time.perf_counter() - start
        cpu = _cpu_seconds(processes) - before
    return Run(len(paths) / seconds, cpu / len(paths), candidate.scores(), ready)


def require_equal(name: str, found: dict[str, float], expected: dict[str, float]) -> None:
    """Leave the bench if two candidates answer differently: then a comparison means nothing."""
    worst = max((abs(score - expected[path]) for path, score in found.items() if path in expected), default=1.0)
    if worst > TOLERANCE:
        raise SystemExit(f"{name} gives other scores (up to {worst:.4f} away): the comparison means nothing")


def compare(
    folder: Path,
    running: Servers,
    *,
    rounds: int,
    images: int,
    busy: int = 0,
    reuploads: float = 0.0,
    settings: dict[str, str] | None = None,
) -> dict[str, list[Run]]:
    """By candidate, what it did in each of the rounds, in which all candidates alternate."""
    model = random_susy()
    save_released(folder / "SuSy.pt", model)
    save_weights(folder / "susy.safetensors", model, name="bench", version="1", classes=CLASSES, provenance={})
    paths = write_images(folder, images, reuploads)
    warm_up = [folder / f"warm-up-{number}.jpg" for number in range(4)]
    for number, path in enumerate(warm_up):
        path.write_bytes(photograph_like(640, 480, 1000 + number))
    runs: dict[str, list[Run]] = {}
    expected: dict[str, float] | None = None
    with busy_cores(busy):
        for _ in range(rounds):
            for candidate in (
                Product(folder, running, settings),
                Naive(folder, running, "glcm"),
                Naive(folder, running, "closed_form"),
            ):
                run = measure(candidate, warm_up, paths, folder / "log.txt", expected)
                expected = expected or run.scores
                require_equal(candidate.name, run.scores, expected)
                runs.setdefault(candidate.name, []).append(run)
                print(f"{candidate.name}: {run.rate:.2f} images/s, {run.cpu:.3f} CPU s", file=sys.stderr, flush=True)
    return runs


def _wait(
    candidate: Product | Naive, connection: psycopg.Connection, count: int, processes: list[psutil.Process]
) -> None:
    while candidate.done(connection) < count:
        if not all(process.is_running() for process in processes):
            raise SystemExit(f"{candidate.name} ended")
        time.sleep(0.02)


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    everything = [child for process in processes for child in (process, *process.children(recursive=True))]
    return sum(times.user + times.system for times in (process.cpu_times() for process in everything))


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep `count` cores busy with something else."""
    busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.join()


def write_images(folder: Path, count: int, reuploads: float) -> list[Path]:
    """`count` JPEG files of mixed sizes; the last `reuploads` share of them are copies of the first."""
    originals = round(count * (1 - reuploads))
    paths = []
    for number in range(count):
        seed = number if number < originals else number - originals
        path = folder / f"{number}.jpg"
        path.write_bytes(photograph_like(*SIZES[seed % len(SIZES)], seed))
        paths.append(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--busy-cores", type=int, default=0)
    parser.add_argument("--reuploads", type=float, default=0.0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of this project")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="susy-bench-") as name, servers() as running:
        settings = dict(item.split("=", 1) for item in options.set)
        runs = compare(
            Path(name),
            running,
            rounds=options.rounds,
            images=options.images,
            busy=options.busy_cores,
            reuploads=options.reuploads,
            settings=settings,
        )
        ours = runs.pop(Product.name)
        print(f"{options.images} images, {options.rounds} rounds, {options.busy_cores} busy; {settings or 'defaults'}")
        print(
            "| worker | images/s, median (min–max) | CPU seconds per image | this project's ratio, median (min–max) |"
        )
        print("|---|---|---|---|")
        for worker, found in [(Product.name, ours), *runs.items()]:
            ratios = [own.rate / other.rate for own, other in zip(ours, found, strict=True)]
            print(
                f"| {worker} | {_summary([run.rate for run in found])} | {np.median([run.cpu for run in found]):.3f} "
                f"| {_summary(ratios)} |"
            )


def _summary(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


if __name__ == "__main__":
    main()
