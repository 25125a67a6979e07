"""Figures of a bench: medians with their spread, against a baseline and a target, as a table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    def is_refused(self) -> bool:
        """Whether the rounds differ too much to report the figure."""
        return self.spread > LARGEST_SPREAD

    def row(self) -> str:
        """A row of a Markdown table; a refused figure gives only its spread."""
        if self.is_refused:
            cells = ["refused", self.baseline or "–", "–", self.target or "–", "–"]
        else:
            ratio = "–" if self.ratio is None else f"{self.ratio:.2f}"
            verdict = {True: "yes", False: "**no**", None: "–"}[self.ok]
            cells = [f"{self.value:.3g} {self.unit}", self.baseline or "–", ratio, self.target or "–", verdict]
        return f"| {' | '.join([self.name, *cells, f'{self.n}, {self.spread:.0%}'])} |"


def _reaches(value: float, target: str) -> bool:
    sign, _, limit = target.partition(" ")
    return value >= float(limit) if sign == "≥" else value <= float(limit)


HEADER = "| figure | median | baseline | ratio | target | reached | rounds, spread |\n|---|---|---|---|---|---|---|"


def table(figures: Sequence[Figure]) -> str:
    """All figures as a Markdown table."""
    return "\n".join([HEADER, *(figure.row() for figure in figures)])


def write(path: Path, machine: dict[str, Any], figures: Sequence[Figure]) -> None:
    """Write what `read` reads, also after each group of figures, so that an interrupted run leaves what it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = {"machine": machine, "figures": [asdict(figure) for figure in figures]}
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> tuple[dict[str, Any], list[Figure]]:
    """The machine and the figures of a file."""
    written = json.loads(path.read_text())
    return written["machine"], [Figure(**figure) for figure in written["figures"]]
