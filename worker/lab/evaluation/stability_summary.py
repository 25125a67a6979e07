"""Traces of many images in a few figures: how far scores move, how often decisions change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.states import Decision
from worker.lab.evaluation.stability import Look, Trace
from worker.lab.evaluation.stability_alterations import ALTERATIONS, Alteration

_OPPOSITES = {Decision.AUTHENTIC, Decision.SYNTHETIC}


@dataclass(frozen=True)
class Spread:
    """The middle of some figures, and where nine of ten of them lie."""

    low: float
    """5th percentile."""
    median: float
    high: float
    """95th percentile."""


@dataclass(frozen=True)
class Effect:
    """What one alteration does to the images it applies to."""

    alteration: Alteration
    applied: int
    """Images as they are scored, to which the alteration applies."""
    not_scored: int
    """Of these, how many are too small afterwards (a side under 224 px). All other figures leave them out."""
    move: Spread | None
    """Score altered minus score as it is, −1..1; None when nothing was compared."""
    distance: float | None
    """Median of how far the score moves, whichever way, 0..1."""
    flips: int
    """Decisions that turned from authentic to synthetic or back."""
    changes: int
    """Decisions that became another one, flips among them."""

    @property
    def compared(self) -> int:
        return self.applied - self.not_scored


@dataclass(frozen=True)
class Summary:
    """All images together."""

    images: int
    """Images that could be read."""
    not_scored: int
    """Of these, how many are too small as they are; nothing else counts them."""
    unreadable: int
    decisions: dict[str, int]
    """Images as they are, by decision."""
    flipped: int
    """Images whose decision flips under at least one alteration."""
    changed: int
    """Images whose decision changes under at least one alteration."""
    farthest: Spread | None
    """Of each image, the largest distance of its scores from the score as it is."""
    effects: tuple[Effect, ...]

    @property
    def scored(self) -> int:
        return self.images - self.not_scored


def is_flip(before: Look, after: Look | None) -> bool:
    """Whether the decision turned from authentic to synthetic or back."""
    return after is not None and after.score is not None and {before.decision, after.decision} == _OPPOSITES


def is_change(before: Look, after: Look | None) -> bool:
    """Whether the decision became another one; an image that can no longer be scored has none."""
    return after is not None and after.score is not None and before.decision is not after.decision


def moves(traces: Sequence[Trace]) -> NDArray[np.float64]:
    """Score altered minus score as it is, float64 [images, alterations]; NaN where there is nothing to compare."""
    return scores(traces) - np.array([[trace.as_is.score] for trace in traces], np.float64)


def scores(traces: Sequence[Trace]) -> NDArray[np.float64]:
    """Scores of altered images, float64 [images, alterations]; NaN where not applied or not scored."""
    if not traces:
        return np.empty((0, len(ALTERATIONS)))
    rows = [[np.nan if look is None or look.score is None else look.score for look in t.altered] for t in traces]
    return np.array(rows, np.float64)


def summarize(traces: Sequence[Trace], unreadable: int, alterations: Sequence[Alteration] = ALTERATIONS) -> Summary:
    """The figures of `traces`, whose altered looks are in the order of `alterations`."""
    scored = [trace for trace in traces if trace.as_is.score is not None]
    moved = moves(scored) if scored else np.empty((0, len(alterations)))
    farthest = [float(np.nanmax(row)) for row in np.abs(moved) if np.isfinite(row).any()]
    return Summary(
        images=len(traces),
        not_scored=len(traces) - len(scored),
        unreadable=unreadable,
        decisions=dict.fromkeys(map(str, Decision), 0) | Counter(str(trace.as_is.decision) for trace in scored),
        flipped=sum(any(is_flip(trace.as_is, look) for look in trace.altered) for trace in scored),
        changed=sum(any(is_change(trace.as_is, look) for look in trace.altered) for trace in scored),
        farthest=_spread(np.array(farthest)),
        effects=tuple(
            _effect(alteration, moved[:, index], [(trace.as_is, trace.altered[index]) for trace in scored])
            for index, alteration in enumerate(alterations)
        ),
    )


def summary_document(summary: Summary) -> dict[str, Any]:
    """The summary as JSON."""
    return {
        "images": summary.images,
        "scored": summary.scored,
        "not_scored": summary.not_scored,
        "unreadable": summary.unreadable,
        "decisions": summary.decisions,
        "flipped_by_any": summary.flipped,
        "changed_by_any": summary.changed,
        "farthest": _spread_document(summary.farthest),
        "alterations": [
            {
                "family": effect.alteration.family.name,
                "setting": effect.alteration.setting,
                "applied": effect.applied,
                "not_scored": effect.not_scored,
                "move": _spread_document(effect.move),
                "distance": _rounded(effect.distance),
                "flips": effect.flips,
                "changes": effect.changes,
            }
            for effect in summary.effects
        ],
    }


def _effect(alteration: Alteration, moved: NDArray[np.float64], looks: list[tuple[Look, Look | None]]) -> Effect:
    applied = sum(after is not None for _, after in looks)
    moved = moved[np.isfinite(moved)]
    return Effect(
        alteration=alteration,
        applied=applied,
        not_scored=applied - len(moved),
        move=_spread(moved),
        distance=float(np.median(np.abs(moved))) if len(moved) else None,
        flips=sum(is_flip(before, after) for before, after in looks),
        changes=sum(is_change(before, after) for before, after in looks),
    )


def _spread(figures: NDArray[np.float64]) -> Spread | None:
    return Spread(*map(float, np.percentile(figures, [5, 50, 95]))) if len(figures) else None


def _spread_document(spread: Spread | None) -> dict[str, float | None] | None:
    if spread is None:
        return None
    return {
        "p5": _rounded(spread.low),
        "median": _rounded(spread.median),
        "p95": _rounded(spread.high),
    }


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)
