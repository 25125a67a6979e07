"""How old the oldest waiting check gets, against the number of workers: a day's curve, and a burst of 20 ×.

    python -m bench.arrivals [--rate 12] [--per-core 4] [--plot docs/queue-age.svg]

A discrete-event simulation of one queue, first come, first served, whose servers are cores that take a constant time
for a check. Arrivals are a Poisson process whose rate follows a day: from half to one and a half of the average, and 20
times the average for ten minutes at noon. `--rate` is the average per second.
"""

from __future__ import annotations

import argparse
import heapq
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DAY, NOON, BURST, FACTOR = 86_400, 43_200, 600, 20
SPARE = (1.2, 1.6, 2.0, 3.0, 5.0)
"""Cores, as multiples of what the average rate keeps busy."""


@dataclass(frozen=True)
class Waits:
    """What happened in one day."""

    arrived: NDArray[np.float64]
    """Seconds since midnight, ascending."""
    waited: NDArray[np.float64]
    """Seconds from the arrival of each check to its begin."""

    def drained_at(self, tolerated: float = 60.0) -> float | None:
        """Seconds after the burst's end until no check waits longer than `tolerated` seconds; None if never."""
        late = self.arrived[self.waited > tolerated]
        if not late.size:
            return 0.0
        last = float(late[-1] + self.waited[self.waited > tolerated][-1])
        return None if last > DAY else max(0.0, last - NOON - BURST)


def arrivals(rate: float, seed: int = 0) -> NDArray[np.float64]:
    """The arrivals of a day, by thinning a Poisson process of the highest rate."""
    generator = np.random.default_rng(seed)
    seconds = np.arange(DAY)
    expected = rate * (1 - 0.5 * np.cos(2 * math.pi * (seconds - 4 * 3600) / DAY))
    expected[NOON : NOON + BURST] = FACTOR * rate
    counts = generator.poisson(expected)
    return np.sort(np.repeat(seconds, counts) + generator.random(counts.sum()))


def simulate(arrived: NDArray[np.float64], cores: int, seconds: float) -> Waits:
    """First come, first served by `cores` servers that take `seconds` for a check."""
    free = [0.0] * cores
    waited = np.empty(len(arrived))
    for number, at in enumerate(arrived):
        begin = max(at, free[0])
        heapq.heapreplace(free, begin + seconds)
        waited[number] = begin - at
    return Waits(arrived, waited)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=12.0, help="checks per second on average (12: 10⁶ per day)")
    parser.add_argument("--per-core", type=float, default=4.0, help="checks per second of one core")
    parser.add_argument("--plot", type=Path, default=Path("docs/queue-age.svg"))
    options = parser.parse_args()
    arrived = arrivals(options.rate)
    needed = len(arrived) / DAY / options.per_core
    print("| cores ÷ needed on average | cores | longest wait | under a minute again after the burst |")
    print("|--:|--:|--:|--:|")
    curves = {}
    for spare in SPARE:
        cores = math.ceil(needed * spare)
        waits = simulate(arrived, cores, 1 / options.per_core)
        drained = waits.drained_at()
        back = "not that day" if drained is None else f"{drained / 60:.0f} min"
        print(f"| {spare:g} | {cores} | {waits.waited.max() / 60:.0f} min | {back} |")
        curves[f"{spare:g} × ({cores} cores)"] = waits
    plot(curves, options.plot)


def plot(curves: dict[str, Waits], path: Path) -> None:
    """Waiting time by time of arrival, one curve per number of cores."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, waits in curves.items():
        minute = (waits.arrived // 300).astype(int)
        longest = np.maximum.reduceat(waits.waited, np.flatnonzero(np.diff(minute, prepend=-1)))
        axes.plot(np.unique(minute) / 12, longest / 60, label=name)
    axes.set(xlabel="hour of arrival", ylabel="longest wait, minutes", xlim=(0, 24), ylim=(0, None))
    axes.legend(title="cores ÷ needed on average")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
