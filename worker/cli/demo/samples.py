"""The bundled samples: what they are, and their expected and actual outcomes."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.demo import EXPECTED, SAMPLES
from worker.localization.heatmap import heatmap
from worker.localization.overlaps import overlap
from worker.policy.policy import default_policy
from worker.store import CheckDetails

AT = default_policy().region_at
"""The score at which the map shows a region, as in verdicts."""
SMALLEST_OVERLAP = 0.5
"""How much of a region, as intersection over union, the map must show."""


@dataclass(frozen=True)
class Sample:
    """A bundled image and its expected outcome."""

    path: Path
    outcome: str
    """The decision, or the error code of its quarantine."""
    generator: str | None = None
    """The generator that must be named; None when that is left open."""
    region: tuple[int, int, int, int] | None = None
    """The rebuilt region (x, y, width, height, in pixels) that the map must show; None when that is left open."""


@dataclass(frozen=True)
class SampleResult:
    """A sample and its outcome."""

    sample: Sample
    view: CheckDetails

    @property
    def outcome(self) -> str:
        """The decision, or the error code."""
        if self.view.verdict is not None:
            return str(self.view.verdict.decision)
        return self.view.error.code if self.view.error else str(self.view.state)

    @property
    def generator(self) -> str | None:
        return self.view.verdict.generator if self.view.verdict else None

    @property
    def overlap(self) -> float | None:
        """How well the map shows the sample's region: intersection over union, 0..1; None without either."""
        if self.sample.region is None or self.view.scan is None:
            return None
        return overlap(heatmap(self.view.scan), self.sample.region, AT)

    @property
    def as_expected(self) -> bool:
        if self.sample.region is not None and (self.overlap or 0.0) < SMALLEST_OVERLAP:
            return False
        if self.sample.generator is not None and self.generator != self.sample.generator:
            return False
        return self.outcome == self.sample.outcome

    @property
    def seconds(self) -> float | None:
        """From the claim to the record."""
        if self.view.started_at is None or self.view.finished_at is None:
            return None
        return (self.view.finished_at - self.view.started_at).total_seconds()


def load_samples() -> list[Sample]:
    """The bundled samples, as `expected.toml` lists them."""
    expected: dict[str, dict[str, Any]] = tomllib.loads(EXPECTED.read_text(encoding="utf-8"))
    return [
        Sample(
            SAMPLES / name,
            facts.get("decision") or facts["error"],
            facts.get("generator"),
            tuple(facts["region"]) if "region" in facts else None,
        )
        for name, facts in expected.items()
    ]
