"""Training throughput on a CPU: the real pipeline against a loop over random tensors of the same shape.

    python -m bench.training [--rounds 7] [--steps 4] [--batch 32] [--threads N] [--cpu-time]

Both train the same network by the same code, in turns. The pipeline reads cached patches from a memory map, crops and
augments them as the model card does, and converts them; the plain loop trains repeatedly on one batch in memory. With
`--threads 1 --cpu-time` the figures are also valid on a busy machine: they then count the processor time of all
threads, including the one that prepares batches. The machine's load is printed with the figures.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from worker.lab.dataset.patches import Patches
from worker.lab.training.batches import Batch, Order, training_batches
from worker.lab.training.distributed import ProcessGroup
from worker.lab.training.epoch import train_steps
from worker.lab.training.recipe import Recipe
from worker.lab.training.run import new_run

PATCHES = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="steps of each loop in a round")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--cpu-time", action="store_true", help="measure this process's CPU time instead of the clock")
    options = parser.parse_args()
    now = time.process_time if options.cpu_time else time.perf_counter
    if options.threads:
        torch.set_num_threads(options.threads)

    classes = ("authentic", "synthetic")
    recipe = Recipe(name="bench", data=Path(), out=Path(), classes=classes, batch=options.batch)
    group = ProcessGroup(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        patches = cached_patches(Path(folder), recipe.patch)
        run = new_run(recipe, group)
        order = np.stack([np.arange(options.steps * recipe.batch) % PATCHES] * 2, axis=1)
        steps = [order[start : start + recipe.batch] for start in range(0, len(order), recipe.batch)]

        def seconds(batches: Iterable[Batch]) -> float:
            run.progress.step = 0
            start = now()
            train_steps(recipe, run, group, steps, batches, lambda: None)
            return now() - start

        loops = {"pipeline": lambda: pipeline(recipe, patches, steps), "random tensors": lambda: plain(recipe, steps)}
        for batches in loops.values():  # the first steps allocate
            seconds(batches())
        speeds: dict[str, list[float]] = {name: [] for name in loops}
        load = [os.getloadavg()[0]]
        for number in range(options.rounds):
            for name in sorted(loops, reverse=bool(number % 2)):  # each comes first equally often
                speeds[name].append(len(order) / seconds(loops[name]()))
            load.append(os.getloadavg()[0])
        alone = preparing(recipe, patches, steps)

    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, batch {recipe.batch},"
    )
    print(
        f"median of {options.rounds} rounds of {options.steps} steps (least–most), load {min(load):.1f}–{max(load):.1f}"
    )
    for name, measured in speeds.items():
        print(f"{name:24} {summary(measured, 2)} tiles/s")
    ratios = [a / b for a, b in zip(speeds["pipeline"], speeds["random tensors"], strict=True)]
    print(f"{'ratio':24} {summary(ratios, 3)}")
    print(f"{'preparing a tile':24} {1e3 * alone:.3f} ms of one core's time")


def cached_patches(folder: Path, side: int) -> Patches:
    """Patches of noise in a memory map, as the cache of cut patches is."""
    file = folder / "pixels.u8"
    random = np.random.default_rng(0)
    with file.open("wb") as target:
        for _ in range(PATCHES):
            target.write(random.integers(0, 256, side * side * 3, dtype=np.uint8).tobytes())
    numbers = np.arange(PATCHES)
    return Patches(
        np.memmap(file, np.uint8, mode="r", shape=(PATCHES, side, side, 3)),
        labels=numbers % 2,
        images=numbers,
        pictures=numbers,
        corners=np.zeros((PATCHES, 2), np.int32),
    )


def pipeline(recipe: Recipe, patches: Patches, steps: list[Order]) -> Iterator[Batch]:
    return training_batches(recipe, patches, steps, epoch=0, class_weights=np.ones(2, np.float32))


def plain(recipe: Recipe, steps: list[Order]) -> Iterator[Batch]:
    """The same batch for every step."""
    random = torch.Generator().manual_seed(0)
    shape = (recipe.batch, recipe.crop, recipe.crop, 3)
    tiles = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random).permute(0, 3, 1, 2)
    labels = torch.arange(recipe.batch) % 2
    return itertools.repeat(Batch(tiles, labels, torch.full((recipe.batch,), 1 / recipe.batch)), len(steps))


def preparing(recipe: Recipe, patches: Patches, steps: list[Order]) -> float:
    """Seconds of processor time for one tile."""
    start = time.process_time()
    for _ in pipeline(recipe, patches, steps):
        pass
    return (time.process_time() - start) / sum(map(len, steps))


def summary(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


if __name__ == "__main__":
    main()
