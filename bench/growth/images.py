"""What the stages of one check cost, against the size of the image: CPU time of one thread, without queue or ledger."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from bench.growth.series import Part, Series
from bench.machine import describe
from bench.pipeline import CLASSES, Scorer, photograph_like
from bench.servers import Servers
from schema.scan import SelectionGrid, Tiling
from tests.support.released import random_susy
from worker.detector.engine import InferenceEngine
from worker.detector.prepare import prepare
from worker.detector.tiles import cut, stack
from worker.intake.decode import decode
from worker.localization.heatmap import heatmap, map_grid
from worker.localization.pictures import map_png
from worker.localization.regions import find_regions
from worker.machine.memory import share_one_heap
from worker.pipeline.measure import complete, lay_out, measure
from worker.pipeline.signals import measure_signals

SIZES = ((640, 480), (1280, 960), (2000, 1500), (4000, 3000), (8000, 6000))
MOST_PIXELS = 10**8
CPU = torch.device("cpu")
Answer = TypeVar("Answer")


@dataclass
class Stopwatch:
    """CPU milliseconds of this process, by stage."""

    spent: dict[str, float]

    def time(self, stage: str, work: Callable[[], Answer]) -> Answer:
        before = time.process_time()
        answer = work()
        self.spent[stage] = 1e3 * (time.process_time() - before)
        return answer


def size(_running: Servers | None = None, *, sizes: Sequence[tuple[int, int]] = SIZES, rounds: int = 5) -> Part:
    """By megapixels of a JPEG: decode, signals, select, forward of five tiles, map of all others."""
    machine = describe()
    share_one_heap()  # as a worker does; otherwise the kernel clears the pages of each large image
    torch.set_num_threads(1)
    contents = {width * height / 1e6: photograph_like(width, height, 0) for width, height in sizes}
    series = {
        name: Series(name, is_proportional=grows)
        for name, grows in (
            ("decode", True),
            ("signals", False),
            ("select", True),
            ("forward, 5 tiles", False),
            ("map, all other tiles", True),
        )
    }
    with InferenceEngine(prepare(random_susy(), CPU), CPU, len(CLASSES)) as engine:
        for number in range(rounds + 1):
            for megapixels, content in contents.items():
                if number == 0 and megapixels > 2:
                    continue  # a small image warms up as well
                for stage, cost in stages(content, Scorer(engine)).items():
                    if number:
                        series[stage].add(megapixels, cost)
            print(f"size: round {number} of {rounds}", file=sys.stderr, flush=True)
    return Part(
        "size",
        "Cost against the size of the image",
        "megapixels",
        "CPU ms per image, one thread",
        list(series.values()),
        machine,
        "Growth is that per megapixel, except for the signals, which come from a window of constant size, and the "
        "forward pass of five tiles. The map of an image with more than 600 tiles is sampled.",
    )


def stages(content: bytes, scorer: Scorer) -> dict[str, float]:
    """CPU milliseconds of each stage of one image whose map is wanted."""
    watch, tiling = Stopwatch({}), Tiling(SelectionGrid.COVERAGE)
    image = watch.time("decode", lambda: decode(content, MOST_PIXELS))
    watch.time("signals", lambda: measure_signals(image))

    def select() -> NDArray[np.uint8]:
        layout = lay_out(image.pixels, tiling)
        return stack(cut(image.pixels, layout.corners[layout.selected]))

    selected = watch.time("select", select)
    watch.time("forward, 5 tiles", lambda: scorer.score(list(selected)))
    scan = measure(image, "", tiling, scorer)
    scan = replace(scan, signals=scan.signals or measure_signals(image))

    def draw() -> None:
        heat = heatmap(complete(scan, image, scorer))
        assert heat is not None
        map_png(heat), map_grid(heat), find_regions(heat, 0.9, 0.5)

    watch.time("map, all other tiles", draw)
    return watch.spent
