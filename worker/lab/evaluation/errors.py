"""The worst errors of an evaluation, to look at: false positives first."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.errors import SetupError
from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.items import Items
from worker.lab.evaluation.scoring import MAX_PIXELS
from worker.lab.evaluation.thresholds import HALF

_LONGEST = 360  # pixels of a thumbnail
_QUALITY = 80


@dataclass(frozen=True)
class Mistake:
    """One image called wrongly at 0.5."""

    entry: Entry
    synthetic: bool
    """In labels."""
    score: float
    answer: str
    """The most probable class."""
    probability: float
    """Of that class."""


def worst(rows: Items, classes: tuple[str, ...], count: int) -> tuple[tuple[Mistake, ...], tuple[Mistake, ...]]:
    """The authentic images that score highest, and the synthetic ones that score lowest; at most `count` of each."""
    called = rows.scores >= HALF
    return (
        _mistakes(rows, classes, np.flatnonzero(called & ~rows.synthetic), -rows.scores, count),
        _mistakes(rows, classes, np.flatnonzero(~called & rows.synthetic), rows.scores, count),
    )


def thumbnail(entry: Entry) -> str | None:
    """A small JPEG of the image as a `data:` URL; None if it cannot be read any more."""
    try:
        image = Image.fromarray(entry.pixels(MAX_PIXELS))
    except SetupError:
        return None
    image.thumbnail((_LONGEST, _LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _mistakes(
    rows: Items, classes: tuple[str, ...], which: NDArray[np.intp], order: NDArray[np.float64], count: int
) -> tuple[Mistake, ...]:
    chosen = which[np.argsort(order[which], kind="stable")][:count]
    return tuple(
        Mistake(
            rows.entries[index],
            bool(rows.synthetic[index]),
            float(rows.scores[index]),
            classes[rows.answers[index]],
            float(rows.probabilities[index].max()),
        )
        for index in chosen.tolist()
    )
