"""What small files that are made to cost much do cost: outcome, CPU seconds and memory, each in a process of its own.

    python -m bench.hostile [--only TEXT] [--side PIXELS]

Prints the table of docs/hostile-files.md. Each file is examined as a worker does, with the demonstration weights, the
default policy and the default limits, on one thread. CPU seconds are those of the whole process from the bytes to the
verdict; memory is what its peak exceeds that of the idle process by.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.corpus import encoded, texture
from tests.support.hostile import FULL_SIDE, HOSTILE
from worker.detector.detector import Detector
from worker.errors import SusyError
from worker.pipeline.examine import Examiner
from worker.policy.policy import default_policy
from worker.settings import load_settings

TIMEOUT = 500
"""Seconds."""


@dataclass(frozen=True)
class Cost:
    """What one file cost."""

    outcome: str
    cpu: float
    memory: int
    """Bytes."""
    tiles: int
    """How many were scored."""
    sampled: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only files with this text in their name")
    parser.add_argument("--side", type=int, default=FULL_SIDE)
    options = parser.parse_args()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([examine.__module__])
    print("| file | bytes | outcome | tiles scored | CPU s | memory MB |\n|---|--:|---|--:|--:|--:|", flush=True)
    for hostile in HOSTILE:
        if options.only in hostile.name:
            content = hostile.make(options.side)
            with ProcessPoolExecutor(1, context) as pool:
                cost = pool.submit(examine, content).result(TIMEOUT)
            tiles = f"{cost.tiles}{', sampled' if cost.sampled else ''}"
            print(
                f"| {hostile.name} | {len(content):,} | {cost.outcome} | {tiles} | {cost.cpu:.1f} "
                f"| {cost.memory / 1e6:,.0f} |",
                flush=True,
            )


def examine(content: bytes) -> Cost:
    """Examine `content` in this process, and measure."""
    settings = load_settings(weights="demo", threads=1, device="cpu")
    with Detector(settings) as detector:
        examiner, policy = Examiner.of(settings, detector), default_policy()
        examiner.examine(encoded(texture(900, 900), "PNG"), policy)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        memory, begun = kilobytes("VmHWM"), time.process_time()
        tiles, sampled = 0, False
        try:
            examination = examiner.examine(content, policy)
        except SusyError as error:
            outcome = f"`{error.code}`"
        else:
            outcome = ", ".join(map(str, examination.verdict.reasons[:1]))
            tiles, sampled = int(examination.scan.scored.sum()), examination.scan.map_sampled
        cpu = time.process_time() - begun
        return Cost(outcome, cpu, 1024 * (kilobytes("VmHWM") - memory), tiles, sampled)


def kilobytes(field: str) -> int:
    return int(Path("/proc/self/status").read_text().partition(f"{field}:")[2].split()[0])


if __name__ == "__main__":
    main()
