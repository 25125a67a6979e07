"""Memory of a worker process over thousands of checks: it must not grow.

    python -m bench.flat_memory [--checks 10000] [--plot docs/flat-memory.svg]
    python -m bench.flat_memory --checks 40000 --too-small

Starts embedded servers, a reconciler and one worker, and submits small images that all differ: JPEG, PNG, WebP, GIF
and AVIF, most of one or two tiles, one in four too small for a tile, one in 500 of 3 megapixels. Reads the worker's
resident memory from /proc as checks are done. Of the second half of the checks, the slope of a line is what the worker
grows by; its interval is that of the means of 20 pieces, since neighbouring samples are not independent.

With `--too-small`, no image has a tile: what remains is everything but the network, many times as often.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psycopg
from PIL import Image

from bench.worker_memory import worker_process
from schema.messages import Submission
from worker.cli.services.stack import running_stack
from worker.detector.paths import DEMO
from worker.store import Store

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
AHEAD = 500
"""Images that are submitted before they are needed, so that the worker never waits."""
SAMPLE_EVERY = 2.0
PIECES = 20
T_QUANTILE = 2.101
"""Of Student's distribution with 18 degrees of freedom, for 95 %."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=10_000)
    parser.add_argument("--too-small", action="store_true", help="images without a tile")
    parser.add_argument("--plot", type=Path, help="write the figure into this file")
    options = parser.parse_args()
    samples = measure(options.checks, picture_without_tile if options.too_small else picture)
    done, megabytes = np.array(samples).T
    slope, margin = growth(done, megabytes)
    for part in range(5):
        within = (done > done[-1] * part / 5) & (done <= done[-1] * (part + 1) / 5)
        print(
            f"fifth {part + 1}: median {np.median(megabytes[within]):.1f} MB, at most {megabytes[within].max():.1f} MB"
        )
    print(f"{done[-1]:,.0f} checks; second half: {slope:+.2f} ± {margin:.2f} MB per 1,000 checks (95 %)")
    if options.plot:
        plot(done, megabytes, options.plot)


def growth(done: np.ndarray, megabytes: np.ndarray) -> tuple[float, float]:
    """Slope of the second half in megabytes per 1,000 checks, and half the width of its 95 % interval."""
    half = done >= done[-1] / 2
    places, values = (
        np.array([piece.mean() for piece in np.array_split(given[half], PIECES)]) for given in (done, megabytes)
    )
    slope, level = np.polyfit(places, values, 1)
    deviation = places - places.mean()
    error = np.sqrt(((values - level - slope * places) ** 2).sum() / (PIECES - 2) / (deviation**2).sum())
    return float(slope) * 1000, float(T_QUANTILE * error) * 1000


def measure(checks: int, picture: Callable[[int], bytes]) -> list[tuple[int, float]]:
    """(checks done, resident megabytes of the worker) until `checks` are done."""
    samples: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory(prefix="susy-bench-") as folder:
        log, images = Path(folder) / "worker.log", Path(folder) / "images"
        images.mkdir()
        with (
            log.open("wb") as written,
            running_stack(Path(folder) / "state", (images,), weights=DEMO, worker_log=written) as stack,
            Store(stack.settings.require_database_url(), pool_size=1) as store,
            psycopg.connect(stack.settings.require_database_url(), autocommit=True) as connection,
        ):
            process, submitted, done = worker_process(stack, log), 0, 0
            while done < checks:
                begun = time.monotonic()
                until = min(checks, done + AHEAD)
                store.submit_each(submission(images, number, picture(number)) for number in range(submitted, until))
                submitted = max(submitted, until)
                time.sleep(max(0.0, SAMPLE_EVERY - (time.monotonic() - begun)))
                done = count_done(connection)
                samples.append((done, resident(process)))
                if len(samples) % 15 == 1:
                    print(f"{done:,} checks, {samples[-1][1]:.0f} MB", flush=True)
                if stack.processes[0].pid != process:
                    raise SystemExit("the worker was restarted")
    return samples


def count_done(connection: psycopg.Connection) -> int:
    """Raises `SystemExit` if a check was quarantined."""
    states = dict(connection.execute("SELECT state, count(*) FROM susy.checks GROUP BY state").fetchall())
    if states.get("quarantined"):
        raise SystemExit(f"{states['quarantined']} checks were quarantined")
    return states.get("done", 0)


def submission(folder: Path, number: int, content: bytes) -> Submission:
    """A submission of an image, which is written into `folder`."""
    path = folder / str(number)
    path.write_bytes(content)
    return Submission(source="bench", uri=str(path))


def picture(number: int) -> bytes:
    """Noise over a gradient, the same for the same number."""
    random = np.random.default_rng(number)
    width, height = 224, 224
    if number % 500 == 499:
        width, height = 2048, 1536
    elif number % 20 == 0:
        width, height = random.integers(224, 449, 2).tolist()
    elif number % 4 == 1:
        width, height = random.integers(30, 224, 2).tolist()
    elif number % 5 == 2:
        height = int(random.integers(225, 449))
    pixels = random.integers(0, 40, (height, width, 3)) + np.linspace(0, 200, width)[:, None]
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, FORMATS[number % 7 % 5], speed=10)  # speed: of AVIF
    return buffer.getvalue()


def picture_without_tile(number: int) -> bytes:
    """Noise, smaller than a tile on one side."""
    random = np.random.default_rng(number)
    width, height = random.integers(20, 200, 2).tolist()
    buffer = io.BytesIO()
    pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, FORMATS[number % 4])
    return buffer.getvalue()


def resident(process: int) -> float:
    """Megabytes."""
    return int(Path(f"/proc/{process}/status").read_text().partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


def plot(done: np.ndarray, megabytes: np.ndarray, path: Path) -> None:
    """Draw the samples."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(done, megabytes, linewidth=1)
    axes.set(xlabel="checks done", ylabel="resident memory, MB", ylim=(0, None), xlim=(0, done[-1]))
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
