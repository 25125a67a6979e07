"""Memory of a worker process over thousands of checks: it must not grow.

    python -m bench.flat_memory [--checks 10000] [--plot docs/flat-memory.svg]

Starts embedded servers, a reconciler and one worker, and submits small images that all differ: JPEG, PNG, WebP, GIF
and AVIF, most of one or two tiles, one in four too small for a tile, one in 500 of 3 megapixels. Reads the worker's
resident memory from /proc as checks are done. The first fifth counts as warm-up; after it, the slope of a line through
the samples is what the worker grows by.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import psycopg
from PIL import Image

from bench.worker_memory import worker_process
from schema.messages import Submission
from worker.cli.stack import running_stack
from worker.detector.paths import DEMO
from worker.store import Store

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
AHEAD = 500
"""Images that are submitted before they are needed, so that the worker never waits."""
SAMPLE_EVERY = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=10_000)
    parser.add_argument("--plot", type=Path, help="write the figure into this file")
    options = parser.parse_args()
    samples = measure(options.checks)
    done, megabytes = np.array(samples).T
    settled = done >= done[-1] / 5
    slope = float(np.polyfit(done[settled], megabytes[settled], 1)[0]) * 1000
    print(
        f"{done[-1]:,.0f} checks: {megabytes[settled][0]:.0f} MB after the warm-up, {megabytes[-1]:.0f} MB at the end, "
        f"at most {megabytes.max():.0f} MB; {slope:+.2f} MB per 1,000 checks"
    )
    if options.plot:
        plot(done, megabytes, options.plot)


def measure(checks: int) -> list[tuple[int, float]]:
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
                store.submit_each(submission(images, number) for number in range(submitted, until))
                submitted = max(submitted, until)
                time.sleep(max(0.0, SAMPLE_EVERY - (time.monotonic() - begun)))
                done = count_done(connection)
                samples.append((done, resident(process)))
                if len(samples) % 15 == 1:
                    print(f"{done:,} checks, {samples[-1][1]:.0f} MB", flush=True)
                if stack.worker.pid != process:
                    raise SystemExit("the worker was restarted")
    return samples


def count_done(connection: psycopg.Connection) -> int:
    """Raises `SystemExit` if a check was quarantined."""
    states = dict(connection.execute("SELECT state, count(*) FROM susy.checks GROUP BY state").fetchall())
    if states.get("quarantined"):
        raise SystemExit(f"{states['quarantined']} checks were quarantined")
    return states.get("done", 0)


def submission(folder: Path, number: int) -> Submission:
    """A submission of the image of that number, which is written into `folder`."""
    path = folder / str(number)
    path.write_bytes(picture(number))
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
