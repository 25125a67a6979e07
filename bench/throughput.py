"""Images per second through Redis and Postgres, while the worker is full.

    python -m bench.throughput [--rounds 3] [--images 64] [--busy-cores 0] [--reuploads 0.0]

Compares this project's worker in its default settings with two plain Celery workers (`bench/naive`) on the same files,
the same embedded servers and the same released network (a stand-in with random weights): five tiles, the reference
grid, no map. Candidates alternate within a round, each round begins with another one, and ratios are taken within it.
Nothing is timed before a candidate's scores of the first images, which are of all sizes, equal those of the released
network; the scores of all others are compared before a ratio is printed. `--busy-cores` keeps that many cores busy with
something else meanwhile.

The rate is the slope of a straight line through the times of the verdicts between the tenth and the last but ten, by
one rule for every candidate: the first images meet a worker that is not full yet, and the last ones leave cores idle
that a steady stream of uploads would use. A line, because several images are scored at once and have their verdicts at
once: two single verdicts would decide. CPU time is that of all images.
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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import psycopg

from bench.pipeline import SIZES, photograph_like
from bench.servers import Servers, servers
from bench.worker_memory import peak_megabytes
from tests.support.released import random_susy, save_released
from worker.client import Client
from worker.detector.weights import save_weights
from worker.settings import load_settings

CHECKOUT = Path(__file__).parents[1]
CLASSES = ("authentic", *(f"generator-{number}" for number in range(1, 6)))
POLICY = 'name = "bench"\nsynthetic_at = 0.9\nauthentic_below = 0.1\nminimum_contrast = 0\nlocalize = "never"\n'
EDGE = 10
"""Verdicts at the beginning and at the end that are not timed."""
WARM_UP = 8
"""Images before, twice as many as there are sizes."""
LEAST = 4
"""Images that must be left between them; 28 and more make rounds that hardly differ."""
MOST_SECONDS = 600
"""Seconds in which a candidate must have examined what it was given."""
TOLERANCE, TOLERANCE_REDUCED = 2e-3, 1e-2
"""Largest difference of two candidates' scores. The ledger keeps probabilities as float16. In reduced precision, the
tolerance of 5e-3 holds for trained weights, not for the random ones used here."""


@dataclass
class Run:
    """What one candidate did in one round."""

    rate: float
    """Images per second between the `EDGE`th verdict and the last but `EDGE`: `slope` of their times."""
    cpu: float
    """CPU seconds per image of its processes."""
    scores: dict[str, float] = field(repr=False)
    ready: float
    """Seconds from the start of its processes to the first verdict."""
    peak_megabytes: float
    """Of the resident memory of the process that was started first: this project's worker, or Celery's parent."""


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

    def tolerance(self) -> float:
        """Largest difference of a score to that of the released network, in the precision that the worker took."""
        with psycopg.connect(self.url) as connection:
            found = {str(name) for (name,) in connection.execute("SELECT DISTINCT precision FROM susy.scans")}
        return TOLERANCE if found <= {"float32"} else TOLERANCE_REDUCED

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

    names = {"plain": "plain Celery worker", "stronger": "stronger Celery worker"}  # noqa: RUF012
    """By variant."""

    def __init__(self, folder: Path, running: Servers, variant: str) -> None:
        from bench.naive.app import TABLE

        self.name = self.names[variant]
        self.url = running.new_database(f"naive_{os.urandom(4).hex()}")
        self.environment = {
            "NAIVE_DATABASE_URL": self.url,
            "NAIVE_REDIS_URL": f"{running.redis_url.rpartition('/')[0]}/{1 + list(self.names).index(variant)}",
            "NAIVE_MODEL": str(folder / "SuSy.pt"),
            "NAIVE_VARIANT": variant,
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

    def tolerance(self) -> float:
        return TOLERANCE

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

    Nothing is timed if its scores of `warm_up` differ from the `expected` ones, and nothing is returned if others do.
    """
    if len(paths) < 2 * EDGE + LEAST:
        raise SystemExit(f"{len(paths)} images are too few: the first and the last {EDGE} are not timed")
    began = time.perf_counter()
    # One connection for the whole run: a new one for each look would cost Postgres a good part of a core.
    with candidate.started(log) as processes, psycopg.connect(candidate.url, autocommit=True) as connection:
        candidate.submit(warm_up)
        ready = verdicts(candidate, connection, 1, processes)[0] - began
        verdicts(candidate, connection, len(warm_up), processes)
        if expected is not None:
            require_equal(candidate.name, candidate.scores(), expected, candidate.tolerance())
        before = cpu_seconds(processes)
        candidate.submit(paths)
        times = verdicts(candidate, connection, len(warm_up) + len(paths), processes)[len(warm_up) :]
        cpu = cpu_seconds(processes) - before
        peak = peak_megabytes(processes[0].pid)
    scores = candidate.scores()
    if expected is not None:
        require_equal(candidate.name, scores, expected, candidate.tolerance())
    return Run(slope(times[EDGE:-EDGE]), cpu / len(paths), scores, ready, peak)


def slope(times: list[float]) -> float:
    """Verdicts per second by least squares: of the line through the number of each verdict at its time."""
    return float(1 / np.polynomial.polynomial.polyfit(np.arange(len(times)), times, 1)[1])


def require_equal(name: str, found: dict[str, float], expected: dict[str, float], tolerance: float = TOLERANCE) -> None:
    """Leave the bench if two candidates answer differently: then a comparison means nothing."""
    worst = max((abs(score - expected[path]) for path, score in found.items() if path in expected), default=1.0)
    if worst > tolerance:
        raise SystemExit(f"{name} gives other scores (up to {worst:.4f} away): the comparison means nothing")


def reference(model: Path, paths: list[Path]) -> dict[str, float]:
    """Scores by the released network with scikit-image's contrast, in this process."""
    from bench.naive import app

    network = app.load(str(model), "plain")
    return {str(path): float(1 - app.examine(str(path), network, app.glcm)[:, 0].mean()) for path in paths}


def compare(
    folder: Path,
    running: Servers,
    *,
    rounds: Iterable[int],
    images: int,
    busy: int = 0,
    reuploads: float = 0.0,
    settings: dict[str, str] | None = None,
    without: str | None = None,
) -> dict[str, list[Run]]:
    """By candidate, what it did in each of the rounds, in which all candidates alternate.

    With `without`, this project's worker also examines as many images that all differ, under that name.
    """
    model = random_susy()
    save_released(folder / "SuSy.pt", model)
    save_weights(folder / "susy.safetensors", model, name="bench", version="1", classes=CLASSES, provenance={})
    paths = write_images(folder, images, reuploads)
    warm_up = write_images(folder, WARM_UP, 0.0, "warm-up-", first=1000)
    candidates: list[tuple[str, Callable[[], Product | Naive], list[Path]]] = [
        (Naive.names["plain"], lambda: Naive(folder, running, "plain"), paths),  # the others must answer as it does
        (Naive.names["stronger"], lambda: Naive(folder, running, "stronger"), paths),
        (Product.name, lambda: Product(folder, running, settings), paths),
    ]
    if without:
        different = write_images(folder, images, 0.0, "different-")
        candidates.append((without, lambda: Product(folder, running, settings), different))
    expected = reference(folder / "SuSy.pt", warm_up)
    runs: dict[str, list[Run]] = {name: [] for name, _, _ in candidates}
    with busy_cores(busy):
        for number in rounds:
            first = number % len(candidates)
            for name, new, examined in candidates[first:] + candidates[:first]:
                run = measure(new(), warm_up, examined, folder / "log.txt", expected)
                expected = run.scores | expected
                runs[name].append(run)
                print(f"{name}: {run.rate:.2f} images/s, {run.cpu:.3f} CPU s", file=sys.stderr, flush=True)
    return runs


def verdicts(
    candidate: Product | Naive, connection: psycopg.Connection, count: int, processes: list[psutil.Process]
) -> list[float]:
    """Wait until at least so many images have verdicts; the time at which each was seen to have one."""
    times: list[float] = []
    until = time.monotonic() + MOST_SECONDS
    while len(times) < count:
        done = candidate.done(connection)
        times += [time.perf_counter()] * (done - len(times))
        if not all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            raise RuntimeError(f"{candidate.name} ended")
        if time.monotonic() > until:
            raise RuntimeError(f"{candidate.name} examined {done} of {count} images in {MOST_SECONDS} s")
        time.sleep(0.02)
    return times


def cpu_seconds(processes: list[psutil.Process]) -> float:
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


def write_images(folder: Path, count: int, reuploads: float, prefix: str = "", first: int = 0) -> list[Path]:
    """`count` JPEG files of mixed sizes, of which some repeat others as `contents` says; seeds begin with `first`."""
    paths = [folder / f"{prefix}{number}.jpg" for number in range(count)]

    def write(path: Path, seed: int) -> None:
        path.write_bytes(photograph_like(*SIZES[seed % len(SIZES)], first + seed))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(write, paths, contents(count, reuploads)))
    return paths


def contents(count: int, reuploads: float) -> list[int]:
    """The number of each image's content. Of those after the first `EDGE`, the `reuploads` share are copies.

    Copies are of the earliest images, in their order, so that their originals have verdicts by then.
    """
    found: list[int] = []
    originals = copies = 0
    for number in range(count):
        if copies < round(reuploads * (number + 1 - EDGE)):
            found.append(copies)
            copies += 1
        else:
            found.append(originals)
            originals += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--busy-cores", type=int, default=0)
    parser.add_argument("--reuploads", type=float, default=0.0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of this project")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="susy-bench-") as name, servers() as running:
        settings = dict(item.split("=", 1) for item in options.set)
        runs = compare(
            Path(name),
            running,
            rounds=range(options.rounds),
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
