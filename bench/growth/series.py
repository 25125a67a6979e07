"""What is measured at several sizes, in rounds that alternate between the sizes, and how it grows."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

BOUND = 1.3
"""What may grow no further than this, relative to the smallest size."""


@dataclass(frozen=True)
class Series:
    """One cost at several sizes."""

    name: str
    points: dict[float, list[float]] = field(default_factory=dict)
    """By size, one value per round. Values at the same place of two lists come from the same round."""
    is_proportional: bool = False
    """Whether the cost is expected to grow like the size: `growth` is then that of the cost per unit of size."""
    is_bounded: bool = False
    """Whether `growth` may not exceed `BOUND`."""

    def add(self, size: float, value: float) -> None:
        """One more round's value at a size."""
        self.points.setdefault(size, []).append(value)

    def growth(self, size: float) -> list[float]:
        """The cost at `size` relative to that at the smallest size, in each round."""
        smallest = min(self.points)
        unit = size / smallest if self.is_proportional else 1.0
        return [
            large / small / unit
            for small, large in zip(self.points[smallest], self.points[size], strict=False)
            if small
        ]

    def beyond_bound(self) -> list[str]:
        """A sentence for each size at which the median growth exceeds the bound."""
        if not self.is_bounded:
            return []
        medians = {size: statistics.median(self.growth(size)) for size in sorted(self.points)}
        return [
            f"{self.name} at {size:,.10g}: {grown:.2f} times the cost at {min(self.points):,.10g}, more than {BOUND}"
            for size, grown in medians.items()
            if grown > BOUND
        ]


@dataclass(frozen=True)
class Part:
    """What one part of `python -m bench.growth` measured."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: list[Series]
    machine: dict[str, Any]
    note: str = ""
    """What a reader must know of the conditions, in a sentence or two."""

    def beyond_bound(self) -> list[str]:
        return [f"{self.name}: {sentence}" for series in self.series for sentence in series.beyond_bound()]

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> Self:
        series = [
            Series(**{**one, "points": {float(size): values for size, values in one["points"]}})
            for one in written["series"]
        ]
        return cls(**{**written, "series": series})

    def to_json(self) -> dict[str, Any]:
        written = asdict(self)
        for one in written["series"]:
            one["points"] = [[size, values] for size, values in sorted(one["points"].items())]
        return written


def read(path: Path) -> dict[str, Part]:
    """The parts of a file by name; none if there is no file yet."""
    if not path.exists():
        return {}
    return {part["name"]: Part.from_json(part) for part in json.loads(path.read_text())["parts"]}


def write(path: Path, parts: dict[str, Part]) -> None:
    """Write what `read` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = {"parts": [part.to_json() for _, part in sorted(parts.items())]}
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
