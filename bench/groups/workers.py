"""Whole workers with their servers: images per second, start, memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import throughput, worker_memory
from bench.figures import Figure
from bench.groups.pace import Pace
from bench.pipeline import photograph_like
from bench.servers import servers
from bench.throughput import Run

TARGETS = {"plain Celery worker": 1.8, "stronger Celery worker": 1.4}
REUSE = 1.35
"""What re-uploads of 30 % must bring."""
IMAGES_QUICK, IMAGES = 48, 64
MEMORY = {
    "8 images of 12 megapixels": ((4000, 3000), 8, 1.2),
    "one of 48 megapixels": ((8000, 6000), 1, 1.6),
}
"""Size and number of the images that are submitted at once, and the gigabytes that they may take."""


def end_to_end(pace: Pace) -> list[Figure]:
    """Images per second through Redis and Postgres, against two plain Celery workers; and the start."""
    runs = _compared(pace)
    ready = [run.ready for run in runs[throughput.Product.name]]
    return [Figure.of("worker start to first verdict", ready, "s", "≤ 6"), *_ratios(runs, "")]


def busy(pace: Pace) -> list[Figure]:
    """The same beside one core that is busy with something else."""
    return _ratios(_compared(pace, busy_cores=1), ", beside a busy core")


def reuploads(pace: Pace) -> list[Figure]:
    """The same with 30 % re-uploads, and against this project's worker without them, in the same rounds."""
    runs = _compared(pace, share=0.3)
    plain = [run.rate for run in runs.pop(WITHOUT)]
    with_them = [run.rate for run in runs[throughput.Product.name]]
    gain = Figure.of(
        "30 % re-uploads", with_them, "images/s", f"≥ {REUSE}", baseline=f"this project, {WITHOUT}", against=plain
    )
    return [gain, *_ratios(runs, ", 30 % re-uploads", has_target=False)]


WITHOUT = "no re-uploads"


def _compared(pace: Pace, *, busy_cores: int = 0, share: float = 0.0) -> dict[str, list[Run]]:
    with tempfile.TemporaryDirectory(prefix="susy-bench-") as folder, servers() as running:
        return throughput.compare(
            Path(folder),
            running,
            rounds=pace.rounds(3, 7),
            images=IMAGES_QUICK if pace.quick else IMAGES,
            busy=busy_cores,
            reuploads=share,
            without=WITHOUT if share else None,
        )


def _ratios(runs: dict[str, list[Run]], case: str, *, has_target: bool = True) -> list[Figure]:
    figures = []
    ours = runs[throughput.Product.name]
    for rival, target in TARGETS.items():
        theirs = runs[rival]
        figures += [
            Figure.of(
                f"through Redis and Postgres{case}",
                [run.rate for run in ours],
                "images/s",
                f"≥ {target}" if has_target else "",
                baseline=rival,
                against=[run.rate for run in theirs],
            ),
            Figure.of(
                f"CPU per image{case}",
                [run.cpu for run in ours],
                "s",
                baseline=rival,
                against=[run.cpu for run in theirs],
            ),
        ]
    return figures


def memory(pace: Pace) -> list[Figure]:
    """Peaks of a worker in default settings: images of 12 megapixels at once, and one of 48."""
    figures: list[Figure] = []
    for name, (size, count, limit) in MEMORY.items():
        with tempfile.TemporaryDirectory(prefix="susy-bench-") as folder:
            images = [Path(folder) / f"{number}.jpg" for number in range(count)]
            for number, image in enumerate(images):
                image.write_bytes(photograph_like(*size, number))
            peaks = [worker_memory.peaks(images)[1] * 1024**2 / 1e9 for _ in pace.rounds(1, 3)]
        figures.append(Figure.of(f"peak memory of a worker, {name}", peaks, "GB", f"≤ {limit}"))
    return figures
