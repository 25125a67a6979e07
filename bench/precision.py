"""Speed and accuracy of each precision on one device, against the released TorchScript form on the same device.

    python -m bench.precision [--device cuda] [--rounds 7] [--batch N]

Takes under 90 seconds on a GPU. Needs torch, numpy, pillow, safetensors, pydantic and structlog, no server. Accuracy
is measured on every tile of the bundled samples (at least 500 real tiles) with the demonstration weights: largest
difference of a probability and mean difference of a tile's score to the original network in float32. It is checked
before anything is timed. Forms alternate within a round, and ratios are taken within it. The released form runs in
torch's default settings, which on a GPU allow TF32.

On a GPU it also prints the peak memory of a forward pass, the share of the network's speed that is left when threads
score through the engine, and how the engine behaves when a batch does not fit in memory.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from schema.scan import Precision
from tests.support.real_tiles import real_tiles
from tests.support.released import load_script, save_released
from worker.demo import DEMO_WEIGHTS
from worker.detector.detector import choose_device
from worker.detector.engine import CPU_BATCH, CUDA_BATCH, InferenceEngine
from worker.detector.model import SuSy
from worker.detector.prepare import (
    LARGEST_DIFFERENCE,
    LARGEST_MEAN_DIFFERENCE,
    offered_precisions,
    prepare,
    use_tf32,
)
from worker.detector.weights import load_weights
from worker.machine.cores import usable_cores

RELEASED = "released form"
EXACT = 1e-5


def answers(network: nn.Module, tiles: list[np.ndarray], device: torch.device, batch: int) -> np.ndarray:
    """Probabilities float32 [T, C]."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(tiles), batch):
            stacked = torch.from_numpy(np.stack(tiles[start : start + batch])).to(device).permute(0, 3, 1, 2)
            found.append(network(stacked.float().div_(255)).float().cpu().numpy())
    return np.concatenate(found)


def accuracy(found: np.ndarray, exact: np.ndarray) -> tuple[float, float, int]:
    """Largest difference of a probability, mean difference of a score, tiles of another most probable class."""
    flips = int((found.argmax(axis=1) != exact.argmax(axis=1)).sum())
    return float(np.abs(found - exact).max()), float(np.abs(found[:, 0] - exact[:, 0]).mean()), flips


def seconds(network: nn.Module, inputs: Tensor, repeats: int) -> float:
    """Of one forward pass."""
    _synchronize(inputs.device)
    start = time.perf_counter()
    for _ in range(repeats):
        network(inputs)
    _synchronize(inputs.device)
    return (time.perf_counter() - start) / repeats


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int)
    options = parser.parse_args()
    device = choose_device(options.device)
    on_cuda = device.type == "cuda"
    batch = options.batch or (CUDA_BATCH if on_cuda else CPU_BATCH)
    if not on_cuda:
        torch.set_num_threads(1)

    model, _ = load_weights(DEMO_WEIGHTS)
    model.temperature = 1.0  # as the released form, which has none; a higher one would make differences smaller
    tiles = real_tiles()
    forms = networks(model, device)
    name = torch.cuda.get_device_name(device) if on_cuda else "CPU, one thread"
    print(f"{name}, torch {torch.__version__}, {len(tiles)} tiles, batch {batch}, {options.rounds} rounds")
    precision = Precision.FLOAT16 if on_cuda else Precision.BFLOAT16

    exact = exact_answers(model, tiles, device, batch)
    differences = {}
    for form, (network, allow_tf32) in forms.items():
        use_tf32(allow_tf32)
        differences[form] = accuracy(answers(network, tiles, device, batch), exact)
        largest, mean, _ = differences[form]
        allowed = EXACT if form == Precision.FLOAT32 else LARGEST_DIFFERENCE
        if form != RELEASED and (largest > allowed or mean > LARGEST_MEAN_DIFFERENCE):
            print(f"{form} is not accurate enough: largest {largest:.2g}, mean {mean:.2g}")

    inputs = torch.from_numpy(np.stack(tiles[:batch])).to(device).permute(0, 3, 1, 2).float().div_(255)
    repeats = 20 if on_cuda else 1
    speeds: dict[str, list[float]] = {form: [] for form in forms}
    with torch.inference_mode():
        for network, allow_tf32 in forms.values():
            use_tf32(allow_tf32)
            seconds(network, inputs, 3)
        for _ in range(options.rounds):
            for form, (network, allow_tf32) in forms.items():
                use_tf32(allow_tf32)
                speeds[form].append(len(inputs) / seconds(network, inputs, repeats))
        print("| form | tiles/s | ratio | largest difference | mean | other class | peak memory of a pass |")
        print("|---|---|---|---|---|---|---|")
        for form, (network, allow_tf32) in forms.items():
            use_tf32(allow_tf32)
            ratios = [own / other for own, other in zip(speeds[form], speeds[RELEASED], strict=True)]
            largest, mean, flips = differences[form]
            peak = peak_memory(network, inputs) if on_cuda else "–"
            cells = (form, _summary(speeds[form], 1), _summary(ratios, 2), f"{largest:.2g}", f"{mean:.2g}", flips, peak)
            print(f"| {' | '.join(map(str, cells))} |")
    use_tf32(False)
    through_the_engine(model, tiles, device, batch, statistics.median(speeds[precision]), precision)
    if on_cuda:
        with_little_memory(model, tiles, device, exact)


def networks(model: SuSy, device: torch.device) -> dict[str, tuple[nn.Module, bool]]:
    """Each form, and whether it may use TF32."""
    with tempfile.TemporaryDirectory() as folder:
        save_released(Path(folder) / "SuSy.pt", model)
        released = load_script(Path(folder) / "SuSy.pt").eval().to(device)
    prepared = {str(precision): prepare(model, device, precision) for precision in offered_precisions(device)}
    return {RELEASED: (released, True), **{form: (network, False) for form, network in prepared.items()}}


def exact_answers(model: SuSy, tiles: list[np.ndarray], device: torch.device, batch: int) -> np.ndarray:
    """Those of the original network in float32."""
    use_tf32(False)
    original = model.to(device)
    found = answers(original, tiles, device, batch)
    model.cpu()
    return found


def peak_memory(network: nn.Module, inputs: Tensor) -> str:
    """Beyond what was allocated before: the activations."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(inputs.device)
    before = torch.cuda.memory_allocated(inputs.device)
    network(inputs)
    _synchronize(inputs.device)
    return f"{(torch.cuda.max_memory_allocated(inputs.device) - before) / 1e6:.0f} MB"


def through_the_engine(
    model: SuSy,
    tiles: list[np.ndarray],
    device: torch.device,
    batch: int,
    network_alone: float,
    precision: Precision,
) -> None:
    """Tiles per second when images of 60 tiles are scored by many threads."""
    lanes = 1 if device.type == "cuda" else usable_cores()
    images = [tiles[start : start + 60] for start in range(0, len(tiles), 60)]
    images *= 20 if device.type == "cuda" else 1
    with (
        InferenceEngine(
            prepare(model, device, precision), device, model.fc3.out_features, batch=batch, lanes=lanes
        ) as engine,
        ThreadPoolExecutor(16) as pool,
    ):
        list(pool.map(engine.score, images[:10]))
        start = time.perf_counter()
        list(pool.map(engine.score, images))
        rate = sum(map(len, images)) / (time.perf_counter() - start)
    print(
        f"through the engine, {precision}: {rate:.0f} tiles/s, {rate / network_alone / lanes:.0%} of the network alone"
    )


def with_little_memory(model: SuSy, tiles: list[np.ndarray], device: torch.device, exact: np.ndarray) -> None:
    """The engine in 400 MB more than the weights take."""
    network = prepare(model, device, Precision.FLOAT16)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    limit = torch.cuda.memory_reserved(device) + 400_000_000
    torch.cuda.set_per_process_memory_fraction(limit / total, device)
    logged: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = logged.append  # type: ignore[method-assign]
    logging.getLogger("worker.detector.engine").addHandler(handler)
    try:
        with InferenceEngine(network, device, len(exact[0])) as engine:
            found = engine.score(tiles)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    lines = [f"{record.msg} {getattr(record, 'tiles', '')}" for record in logged]
    largest, _, _ = accuracy(found, exact)
    print(f"with 400 MB: {len(tiles)} tiles scored, largest difference {largest:.2g}; logged: {lines}")


def _summary(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


if __name__ == "__main__":
    main()
