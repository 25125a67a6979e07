"""What the network's forward pass of one check consists of, by torch's profiler."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from tests.support.released import random_susy
from worker.detector.prepare import prepare

TILES, PASSES = 5, 8


def operators(most: int = 8) -> list[tuple[str, float, int]]:
    """(operator, its own CPU milliseconds per pass, calls per pass) of five tiles on one thread; the costliest first.

    Own time is without that of the operators that it calls.
    """
    torch.set_num_threads(1)
    network = prepare(random_susy(), torch.device("cpu"))
    tiles = torch.rand(TILES, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(2):
            network(tiles)
        with profile(activities=[ProfilerActivity.CPU]) as watched:
            for _ in range(PASSES):
                network(tiles)
    found = [
        (event.key, event.self_cpu_time_total / 1e3 / PASSES, round(event.count / PASSES))
        for event in watched.key_averages()
    ]
    return sorted(found, key=lambda one: -one[1])[:most]
