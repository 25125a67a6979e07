"""Tiles a second of the network in its several forms, on the CPU.

    python -m bench.forward [--rounds 7] [--threads N] [--cpu-time]

With `--threads 1 --cpu-time` the figures hold on a busy machine too. Runs of the compared forms
alternate, and ratios are taken within a round. The released form is a TorchScript stand-in with the
released structure and random weights.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from schema.scan import Precision
from tests.support.released import load_script, random_susy, save_released
from worker.detector.model import SuSy
from worker.detector.prepare import PreparedSuSy, fold, prepare, torch_threads

REFERENCE = "released TorchScript form, 16"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cpu-time", action="store_true", help="count this process's CPU time, not the clock's")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    now = time.process_time if options.cpu_time else time.perf_counter

    susy = random_susy()
    with tempfile.TemporaryDirectory() as folder:
        save_released(Path(folder) / "SuSy.pt", susy)
        released = load_script(Path(folder) / "SuSy.pt").eval()
    folded = fold(copy.deepcopy(susy)).requires_grad_(False)
    prepared = prepare(susy, torch.device("cpu"))
    planar = torch.rand(16, 3, 224, 224)
    interleaved = {
        size: torch.rand(size, 3, 224, 224).contiguous(memory_format=torch.channels_last) for size in (4, 8, 16, 32, 64)
    }
    forms: dict[str, tuple[nn.Module, Tensor]] = {
        REFERENCE: (released, planar),
        "ours, 16": (susy, planar),
        "ours folded, 16": (folded, planar),
        **{f"ours folded, channels last, {size}": (prepared, tiles) for size, tiles in interleaved.items()},
        **{
            f"the same, weights in the order for {n} threads, 16": (ordered_for(n, susy), interleaved[16])
            for n in (2, 16)
        },
    }
    with torch.inference_mode():
        for network, tiles in forms.values():  # TorchScript optimizes itself in its first runs
            for _ in range(3 if network is released else 1):
                network(tiles)
        speeds: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(options.rounds):
            for name, (network, tiles) in forms.items():
                start = now()
                network(tiles)
                speeds[name].append(len(tiles) / (now() - start))

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {options.rounds} (least–most)")
    print(f"{'form, tiles a batch':52} {'tiles/s':>22} {'ratio to the released form':>30}")
    for name, measured in speeds.items():
        ratios = [speed / reference for speed, reference in zip(measured, speeds[REFERENCE], strict=True)]
        print(f"{name:52} {summary(measured, 1):>22} {summary(ratios, 2):>30}")


def ordered_for(threads: int, susy: SuSy) -> nn.Module:
    """The network with weights in the order in which oneDNN reads them when it uses so many threads, not one."""
    with torch_threads(threads):
        return PreparedSuSy(susy, torch.device("cpu"), Precision.FLOAT32)


def summary(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


if __name__ == "__main__":
    main()
