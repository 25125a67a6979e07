"""What figures are computed from: one row a patch, or one row an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.labels import Label
from worker.lab.evaluation.scorer import softmax
from worker.lab.evaluation.scoring import Scores
from worker.policy.decide import aggregate, evidence
from worker.policy.policy import Aggregation, Rule


class Level(StrEnum):
    """What one row is."""

    PATCH = "patch"
    """One tile, as the card's tables count."""
    IMAGE = "image"
    """One image, its tiles aggregated, as a worker decides."""


@dataclass(frozen=True, eq=False)
class Items:
    """N rows of one level."""

    level: Level
    probabilities: NDArray[np.float64]
    """[N, C] class probabilities."""
    scores: NDArray[np.float64]
    """[N] the rule's score in 0..1; called synthetic from a threshold on."""
    synthetic: NDArray[np.bool_]
    """[N] whether it is synthetic in labels."""
    index: NDArray[np.int64]
    """[N] its true class, or −1 when that is not among the weights'."""
    pictures: NDArray[np.int64]
    """[N] which picture it shows: what is resampled."""
    entries: tuple[Entry, ...]
    """[N] the image it is, or is of."""

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def answers(self) -> NDArray[np.int64]:
        """[N] the most probable class."""
        return np.asarray(self.probabilities.argmax(axis=1))


def items(
    scores: Scores, labels: Mapping[str, Label], *, temperature: float, rule: Rule, how: Aggregation
) -> dict[Level, Items]:
    """Both levels of one variant's scores."""
    patches = softmax(scores.logits, temperature).astype(np.float64)
    starts = np.searchsorted(scores.image, np.arange(1, len(scores.entries)))
    images = np.array([aggregate(tiles, how) for tiles in np.split(patches, starts)] if scores.entries else [])
    of_patches = tuple(scores.entries[number] for number in scores.image.tolist())
    return {
        Level.PATCH: _items(Level.PATCH, patches, of_patches, labels, rule),
        Level.IMAGE: _items(Level.IMAGE, images.reshape(-1, patches.shape[1]), scores.entries, labels, rule),
    }


def _items(
    level: Level,
    probabilities: NDArray[np.float64],
    entries: Sequence[Entry],
    labels: Mapping[str, Label],
    rule: Rule,
) -> Items:
    of_entries = [labels[entry.label] for entry in entries]
    numbers: dict[str, int] = {}
    return Items(
        level=level,
        probabilities=probabilities,
        scores=evidence(probabilities, rule),
        synthetic=np.array([item.synthetic for item in of_entries], np.bool_),
        index=np.array([-1 if item.index is None else item.index for item in of_entries], np.int64),
        pictures=np.array([numbers.setdefault(entry.picture, len(numbers)) for entry in entries], np.int64),
        entries=tuple(entries),
    )
