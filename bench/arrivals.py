"""How old the oldest waiting check gets, against the number of workers: a day's curve, and a burst of 20 ×.

    python -m bench.arrivals [--uploads-per-day 1e7] [--results bench/results/latest.json] [--docs docs]

A discrete-event simulation of one queue, first come, first served, whose servers are cores that take a constant time
for a check: what `susy capacity` computes of images of 2 megapixels, 30 % of them re-uploads. Arrivals are a Poisson
process whose rate follows a day: from half to one and a half of the average, and 20 times the average for ten minutes
at noon. The table goes into docs/capacity.md, the plot beside it.
"""

from __future__ import annotations

import argparse
import heapq
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.capacity_page import MEGAPIXELS, PAGE, REUPLOADS, put
from bench.render import LATEST
from worker.capacity import Demand, Measured, worker_seconds

BEGIN, END = "<!-- bench.arrivals: begin -->", "<!-- bench.arrivals: end -->"
DAY, NOON, BURST, FACTOR = 86_400, 43_200, 600, 20
SPARE = (1.2, 1.6, 2.0, 3.0, 5.0)
"""Cores, as multiples of what the average rate keeps busy, rounded up to whole ones."""


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
    parser.add_argument("--uploads-per-day", type=float, default=1e7)
    parser.add_argument("--results", type=Path, default=LATEST, help="of `make bench`")
    parser.add_argument("--docs", type=Path, default=PAGE.parent)
    options = parser.parse_args()
    demand = Demand(options.uploads_per_day, MEGAPIXELS, REUPLOADS)
    text, curves = simulated(options.uploads_per_day, worker_seconds(Measured.read(options.results), demand))
    page = options.docs / PAGE.name
    page.write_text(put(page.read_text(), BEGIN, END, text))
    plot(curves, options.docs / "queue-age.svg")


def simulated(uploads: float, seconds: float) -> tuple[str, dict[str, Waits]]:
    """The table of a day with so many uploads that each take a core so many seconds, and the waits by its rows."""
    arrived = arrivals(uploads / DAY)
    needed = len(arrived) / DAY * seconds
    rows = [
        f"{uploads:,.0f} uploads; a core takes {1 / seconds:.1f} checks per second, so {needed:.1f} cores are busy on "
        "average.",
        "",
        "| cores ÷ needed on average | cores | longest wait | under a minute again after the burst |",
        "|--:|--:|--:|--:|",
    ]
    curves = {}
    for spare in SPARE:
        cores = math.ceil(needed * spare)
        waits = simulate(arrived, cores, seconds)
        drained = waits.drained_at()
        back = "not that day" if drained is None else f"{drained / 60:.0f} min"
        times = f"{cores / needed:.1f}"
        rows.append(f"| {times} | {cores} | {waits.waited.max() / 60:.0f} min | {back} |")
        curves[f"{times} × ({cores} cores)"] = waits
    return "\n".join(rows), curves


def plot(curves: dict[str, Waits], path: Path) -> None:
    """Waiting time by time of arrival, one curve per number of cores."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, waits in curves.items():
        minute = (waits.arrived // 300).astype(int)
        longest = np.maximum.reduceat(waits.waited, np.flatnonzero(np.diff(minute, prepend=-1)))
        axes.plot(np.unique(minute) / 12, longest / 60, label=name)
    axes.set(xlabel="hour of arrival", ylabel="longest wait, minutes", xlim=(0, 24), ylim=(0, None))
    axes.legend(title="cores ÷ needed on average")
    with rc_context({"svg.hashsalt": "arrivals"}):  # the same figures give the same file
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
