"""What a check costs a worker, against the images that are in flight in it (`SUSY_CONCURRENCY`).

The real worker with its ledger and queue. CPU time and peak memory hold on a busy machine; images per second hold as
ratios only, since the rounds alternate, and only on a machine whose other work is steady.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.growth.series import Part, Series
from bench.machine import describe
from bench.pipeline import CLASSES, photograph_like
from bench.servers import Servers
from bench.throughput import Product, measure
from tests.support.released import random_susy
from worker.detector.weights import save_weights

IN_FLIGHT = (1, 2, 4, 8, 16, 32, 64)
SIZE = (1280, 960)
WARM_UP = 4
IMAGES = 96
RATED_FROM = 6
"""How many times as many images as are in flight a rate takes: of fewer, most have their verdicts all at once."""


def in_flight(running: Servers, *, sizes: Sequence[int] = IN_FLIGHT, rounds: int = 3, images: int = IMAGES) -> Part:
    """By `SUSY_CONCURRENCY`: CPU, memory and rate of a worker on JPEG files of a megapixel."""
    machine = describe()
    cpu = Series("worker and reconciler, CPU ms per check", is_bounded=True)
    memory = Series("worker, peak memory in MB", is_bounded=False)
    rate = Series("images per second")
    with tempfile.TemporaryDirectory(prefix="susy-bench-") as name:
        place = Path(name)
        save_weights(
            place / "susy.safetensors", random_susy(), name="bench", version="1", classes=CLASSES, provenance={}
        )
        paths = [place / f"{number}.jpg" for number in range(WARM_UP + images)]
        for number, path in enumerate(paths):
            path.write_bytes(photograph_like(*SIZE, number))
        for number in range(rounds):
            for count in sizes:
                candidate = Product(place, running, {"SUSY_CONCURRENCY": str(count)})
                run = measure(candidate, paths[:WARM_UP], paths[WARM_UP:], place / "log.txt")
                cpu.add(count, 1e3 * run.cpu)
                memory.add(count, run.peak_megabytes)
                if images >= RATED_FROM * count:
                    rate.add(count, run.rate)
                print(
                    f"in_flight: round {number + 1} of {rounds}, {count}: {1e3 * run.cpu:.0f} CPU ms, "
                    f"{run.peak_megabytes:.0f} MB, {run.rate:.1f}/s", file=sys.stderr, flush=True,
                )  # fmt: skip
    return Part(
        "in_flight",
        "Cost against images in flight",
        "SUSY_CONCURRENCY",
        "as named",
        [cpu, memory, rate],
        machine,
        f"{images} JPEG files of {SIZE[0]}×{SIZE[1]}, five tiles, no map. On few cores, more images in flight than "
        f"cores can only wait for each other. A rate takes {RATED_FROM} times as many images as are in flight.",
    )
