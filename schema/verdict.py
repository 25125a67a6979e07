"""A verdict: what one version of one policy decides about one scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from schema.scan import Scan
from schema.states import Decision, Reason

UNKNOWN_GENERATOR = "unknown_generator"
"""The generator of an image for which no class of the detector leads clearly: perhaps one it was not trained on."""


Polygon = tuple[tuple[tuple[int, int], ...], ...]
"""The coordinates of a polygon as in GeoJSON, in pixels: the exterior ring, then the holes; each ring is a list of
points (x, y) and ends where it begins."""


@dataclass(frozen=True)
class Region:
    """A part of the image whose tiles look synthetic: the rectangle around it, in pixels, and its outline.

    Regions of verdicts from before outlines were stored have none of the fields that may be None.
    """

    x: int
    y: int
    width: int
    height: int
    score: float
    """Highest score inside, 0..1: of the map's cells, each the mean over the tiles that cover it."""
    mean_score: float | None = None
    """Mean score, 0..1, of all its pixels."""
    area: float | None = None
    """Share of the image that lies inside the outline, 0..1."""
    generator: str | None = None
    """The most probable synthetic class of the region when it leads clearly, else `UNKNOWN_GENERATOR`."""
    polygon: Polygon | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The region of a JSON object, as verdicts store it."""
        polygon = document.get("polygon")
        outline = None if polygon is None else tuple(tuple((x, y) for x, y in ring) for ring in polygon)
        return cls(**{**document, "polygon": outline})


@dataclass(frozen=True)
class PolicyVersion:
    """Name and version of a policy; the version is derived from its content and never changes meaning."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check."""

    decision: Decision
    score: float | None
    """Probability that the image is synthetic: 1 − p(authentic), aggregated over the selected tiles;
    None when no tile could be scored."""
    class_scores: Mapping[str, float]
    """Aggregated probability of each class by index, the authentic one first; empty when no tile could be scored."""
    generator: str | None
    """The most probable synthetic class when it leads clearly, else `UNKNOWN_GENERATOR`; None when the decision is
    `authentic`, no tile could be scored or no class has any synthetic probability."""
    generator_confidence: float | None
    """Share of the synthetic probability that the most probable synthetic class holds, 0..1: how certain the
    recognition is if the image is synthetic. None without a generator; below the policy's share for an unknown one."""
    reasons: tuple[Reason, ...]
    needs_review: bool
    regions: tuple[Region, ...]
    policy: PolicyVersion


def verdict_document(scan: Scan, verdict: Verdict) -> dict[str, Any]:
    """The JSON object that `susy check --json` and `susy show --json` print for an image."""
    return {
        "decision": str(verdict.decision),
        "score": verdict.score,
        "class_scores": dict(verdict.class_scores),
        "generator": verdict.generator,
        "generator_confidence": verdict.generator_confidence,
        "reasons": [str(reason) for reason in verdict.reasons],
        "needs_review": verdict.needs_review,
        "width": scan.width,
        "height": scan.height,
        "content_sha256": scan.content_sha256,
        "tiles": {
            "mode": str(scan.tiling.mode),
            "total": len(scan.corners),
            "scored": int(scan.scored.sum()),
        },
        "map_sampled": scan.map_sampled,
        "regions": [asdict(region) for region in verdict.regions],
        "policy": asdict(verdict.policy),
        "model": {
            "name": scan.model.name,
            "sha256": scan.model.sha256,
            "precision": str(scan.model.precision),
        },
    }
