"""The network and the stages of a check in one process, in CPU time of one thread."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.figures import Figure
from bench.groups.pace import Pace
from bench.machine import cpu_class
from bench.pipeline import CLASSES, POLICY, Scorer, photograph_like
from schema.scan import Precision, SelectionGrid, Tiling
from tests.support.real_tiles import real_tiles
from tests.support.released import load_script, random_susy, save_released
from worker.demo import DEMO_WEIGHTS
from worker.detector.contrast import highest, tile_contrasts
from worker.detector.engine import InferenceEngine
from worker.detector.prepare import offered_precisions, prepare
from worker.detector.tiles import coverage_grid, cut, stack
from worker.detector.weights import load_weights
from worker.intake.decode import decode
from worker.pipeline.examine import Examiner
from worker.policy.policy import Policy

CPU = torch.device("cpu")
ALLOWED = {Precision.FLOAT32: (1e-5, 1e-5), Precision.BFLOAT16: (0.06, 1e-3)}
"""Largest and mean difference of probabilities. The demonstration weights are steeper than 5e-3 allows in bfloat16."""
BATCH = 16


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def least(times: int, *works: Callable[[], object]) -> list[float]:
    """CPU seconds of each of the works: the least of so many turns, in which they alternate.

    What takes less than a second differs between turns by what the caches hold and by which pages are already mapped.
    """
    turns = [[cpu_seconds(work) for work in works] for _ in range(times)]
    return [min(spent) for spent in zip(*turns, strict=True)]


def require(condition: bool, what: str) -> None:
    if not condition:
        raise SystemExit(f"{what}: the comparison means nothing")


def forward(pace: Pace) -> list[Figure]:
    """Tiles per CPU second of the network on one thread, against the released form with the same tiles."""
    torch.set_num_threads(1)
    model, _ = load_weights(DEMO_WEIGHTS)
    model.temperature = 1.0  # the released form has none
    with tempfile.TemporaryDirectory() as folder:
        save_released(Path(folder) / "SuSy.pt", model)
        released = load_script(Path(folder) / "SuSy.pt").eval()
    tiles = torch.from_numpy(np.stack(real_tiles()[:: 18 if pace.quick else 1])).permute(0, 3, 1, 2)
    networks = {precision: prepare(model, CPU, precision) for precision in offered_precisions(CPU)}
    with torch.inference_mode():
        for precision, network in networks.items():
            differences = []
            for part in tiles.split(BATCH):
                batch = part.float().div(255)
                differences.append((network(batch) - model(batch)).abs())
            found = torch.cat(differences)
            largest, mean = ALLOWED[precision]
            require(bool(found.max() <= largest and found.mean() <= mean), f"{precision} is not accurate enough")
        batch = tiles[:BATCH].float().div(255)
        times: dict[str, list[float]] = {name: [] for name in ("released", *networks)}
        for _ in range(3):  # TorchScript optimizes itself in its first runs
            released(batch)
        works = [partial(network, batch) for network in (released, *networks.values())]
        for _ in pace.rounds(5, 11):
            for name, spent in zip(times, least(2, *works), strict=True):
                times[name].append(BATCH / spent)
    kind = cpu_class()
    targets = {Precision.FLOAT32: "≥ 1.35" if kind == "AVX2" else "≥ 1.5"}
    if kind == "AMX":
        targets[Precision.BFLOAT16] = "≥ 5"
    return [
        Figure.of(
            f"forward, {precision}, per core",
            times[precision],
            "tiles/s",
            targets.get(precision, ""),
            baseline="released form",
            against=times["released"],
        )
        for precision in networks
    ]


def whole_check(pace: Pace) -> list[Figure]:
    """CPU seconds of a check from bytes to verdict in one process, against the naive task's body."""
    torch.set_num_threads(1)
    model = random_susy()
    figures = []
    with tempfile.TemporaryDirectory() as name:
        save_released(Path(name) / "SuSy.pt", model)
        naive = naive_app()
        released = naive.load(str(Path(name) / "SuSy.pt"), "plain")
        with InferenceEngine(prepare(model, CPU), CPU, len(CLASSES)) as engine, ThreadPoolExecutor(4) as pool:
            examiner = Examiner(Scorer(engine), Tiling(SelectionGrid.REFERENCE), 10**8, renders_maps=False)

            def score(path: Path) -> float:
                return examiner.examine(path.read_bytes(), POLICY).verdict.score or 0.0

            for (width, height), target in (((640, 480), 1.4), ((1280, 960), 1.5), ((4000, 3000), 2.5)):
                paths = [Path(name) / f"{width}-{seed}.jpg" for seed in range(4 if width == 4000 else 6)]
                for seed, path in enumerate(paths):
                    path.write_bytes(photograph_like(width, height, seed))

                def plain(paths: list[Path] = paths) -> list[float]:
                    return [float(1 - naive.examine(str(path), released, naive.glcm)[:, 0].mean()) for path in paths]

                def own(paths: list[Path] = paths) -> list[float]:
                    return list(pool.map(score, paths))

                require(bool(np.allclose(plain(), own(), atol=1e-3)), "the scores differ")
                ours, theirs = [], []
                for _ in pace.rounds(3, 7):
                    own_seconds, plain_seconds = least(3 if width == 4000 else 2, own, plain)
                    ours.append(len(paths) / own_seconds)
                    theirs.append(len(paths) / plain_seconds)
                figures.append(
                    Figure.of(
                        f"whole check, {width}×{height}, float32",
                        ours,
                        "images per CPU second",
                        f"≥ {target}",
                        baseline="naive task's body",
                        against=theirs,
                    )
                )
    return figures


def naive_app():  # type: ignore[no-untyped-def]
    """Imported late: it reads its settings when it is."""
    from bench.naive import app

    return app


def selection(pace: Pace) -> list[Figure]:
    """Gray levels, contrast and cutting of 12 megapixels, against decoding the same JPEG."""
    content = photograph_like(4000, 3000, 0)
    pixels = decode(content, 10**8).pixels
    grid = coverage_grid(4000, 3000)

    def select() -> None:
        contrast = tile_contrasts(pixels, grid)
        stack(cut(pixels, grid[highest(contrast)]))

    def decoded() -> None:
        np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))

    select(), decoded()
    times = [least(5, select, decoded) for _ in pace.rounds(7, 21)]
    return [
        Figure.of(
            "gray + contrast + cutting, 12 megapixels",
            [1e3 * ours for ours, _ in times],
            "ms",
            "≤ 0.15",
            baseline="decoding the JPEG",
            against=[1e3 * theirs for _, theirs in times],
        )
    ]


def costs_of_decoding(pace: Pace) -> list[Figure]:
    """CPU of decoding and selecting per megapixel: what `susy capacity` computes with."""
    content = photograph_like(1920, 1080, 0)
    grid = coverage_grid(1920, 1080)

    def work() -> None:
        pixels = decode(content, 10**8).pixels
        stack(cut(pixels, grid[highest(tile_contrasts(pixels, grid))]))

    work()
    times = [least(5, work)[0] for _ in pace.rounds(5, 11)]
    return [Figure.of("decoding and selecting, per megapixel", [1e3 * took / (1.92 * 1.08) for took in times], "ms")]


def full_map(pace: Pace) -> list[Figure]:
    """All tiles of 12 megapixels in CPU time, against the network on as many tiles plus decoding."""
    torch.set_num_threads(1)
    network, content = prepare(random_susy(), CPU), photograph_like(4000, 3000, 0)
    policy = Policy(name="map", synthetic_at=0.9, authentic_below=0.1, minimum_contrast=0, localize="always")
    batch = torch.rand(BATCH, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    with InferenceEngine(network, CPU, len(CLASSES)) as engine, torch.inference_mode():
        examiner = Examiner(Scorer(engine), Tiling(SelectionGrid.REFERENCE), 10**8)
        tiles = len(examiner.examine(content, policy).scan.corners)
        whole, parts = [], []
        for _ in pace.rounds(1, 5):
            whole.append(cpu_seconds(lambda: examiner.examine(content, policy)))
            forward = cpu_seconds(lambda: [network(batch) for _ in range(8)]) / (8 * BATCH)
            parts.append(tiles * forward + cpu_seconds(lambda: decode(content, 10**8)))
    name = f"full map, 12 megapixels, {tiles} tiles"
    return [Figure.of(name, whole, "CPU s", "≤ 1.1", baseline="tiles ÷ forward rate + decoding", against=parts)]
