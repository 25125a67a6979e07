"""Figures of a bench: medians with their spread, against a baseline and a target, as a table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

LARGEST_SPREAD = 0.35
"""The spread from which a figure is refused: what it says is then the machine's other work."""


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    """The median."""
    unit: str
    baseline: str | None
    """What `ratio` compares with; None for a figure that stands alone."""
    ratio: float | None
    """Median of the ratios to the baseline, each taken within one round."""
    target: str
    """`≥ 1.4` or `≤ 3` of the ratio, or of the value without a baseline; empty without a target."""
    ok: bool | None
    """Whether the target is reached; None without a target, or when the spread was too large to say so."""
    n: int
    """Rounds."""
    spread: float
    """(maximum − minimum) ÷ median, of what the target is about."""
    group: str = ""
    """The group of `make bench` that measures it."""
    load: float | None = None
    """The machine's load average before the group began: what else was running."""
    measured_at: str = ""
    """UTC, to the minute."""

    @classmethod
    def of(
        cls,
        name: str,
        values: Sequence[float],
        unit: str,
        target: str = "",
        *,
        baseline: str | None = None,
        against: Sequence[float] = (),
        inverse: bool = False,
    ) -> Self:
        """From one value per round, and the baseline's of the same rounds; `inverse` where less is better."""
        ratios = [b / a if inverse else a / b for a, b in zip(values, against, strict=True)] if against else []
        judged = ratios or list(values)
        middle = statistics.median(judged)
        spread = (max(judged) - min(judged)) / abs(middle) if middle else 0.0
        reached = _reaches(middle, target) if target else None
        return cls(
            name,
            statistics.median(values),
            unit,
            baseline,
            statistics.median(ratios) if ratios else None,
            target,
            None if spread > LARGEST_SPREAD else reached,
            len(values),
            spread,
        )

    @property
    def refused(self) -> str | None:
        """Why the figure is not reported: its rounds differ too much; None if it is."""
        if self.spread <= LARGEST_SPREAD:
            return None
        return f"its {self.n} rounds differ by {self.spread:.0%}, more than {LARGEST_SPREAD:.0%}"

    def row(self) -> str:
        """A row of a Markdown table; a refused figure gives only its spread."""
        if self.refused:
            cells = ["refused", self.baseline or "–", "–", self.target or "–", "–"]
        else:
            ratio = "–" if self.ratio is None else f"{self.ratio:.2f}"
            verdict = {True: "yes", False: "**no**", None: "–"}[self.ok]
            value = f"{self.value:,.0f}" if abs(self.value) >= 1000 else f"{self.value:.3g}"
            cells = [f"{value} {self.unit}", self.baseline or "–", ratio, self.target or "–", verdict]
        load = "–" if self.load is None else f"{self.load:.1f}"
        return f"| {' | '.join([self.name, *cells, f'{self.n}, {self.spread:.0%}', load])} |"


def _reaches(value: float, target: str) -> bool:
    sign, _, limit = target.partition(" ")
    return value >= float(limit) if sign == "≥" else value <= float(limit)


HEADER = (
    "| figure | median | baseline | ratio | target | reached | rounds, spread | load |\n"
    "|---|---|---|---|---|---|---|--:|"
)


def table(figures: Sequence[Figure]) -> str:
    """All figures as a Markdown table."""
    return "\n".join([HEADER, *(figure.row() for figure in figures)])


SAME = ("cpu_class", "cores", "python", "torch", "numpy", "pillow")
"""What two runs must agree in for their figures to stand in one file."""


def merged(
    kept: tuple[dict[str, Any], list[Figure]] | None,
    machine: dict[str, Any],
    measured: Sequence[Figure],
    order: Sequence[str] = (),
) -> list[Figure]:
    """`measured`, and of an earlier run on this machine the groups that were not measured now, in the groups' order."""
    found = list(measured)
    if kept is not None and all(kept[0].get(name) == machine.get(name) for name in SAME):
        groups = {figure.group for figure in measured}
        known = {(figure.name, figure.baseline) for figure in measured}
        found = [one for one in kept[1] if one.group not in groups and (one.name, one.baseline) not in known] + found
    places = {name: place for place, name in enumerate(order)}

    def place(figure: Figure) -> tuple[int, str]:
        group, _, on_fewer_cores = figure.group.partition(", ")
        return places.get(group, len(places)), on_fewer_cores

    return sorted(found, key=place)


def write(path: Path, machine: dict[str, Any], figures: Sequence[Figure]) -> None:
    """Write what `read` reads, and why a figure is refused, for `susy capacity`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = [{**asdict(figure), "refused": figure.refused} for figure in figures]
    path.write_text(json.dumps({"machine": machine, "figures": shown}, indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> tuple[dict[str, Any], list[Figure]]:
    """The machine and the figures of a file."""
    written = json.loads(path.read_text())
    names = {field.name for field in fields(Figure)}
    figures = [Figure(**{name: one[name] for name in one if name in names}) for one in written["figures"]]
    return written["machine"], figures
