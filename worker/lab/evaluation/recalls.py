"""Recall of each origin of images, as the model card tables it: authentic ones called authentic, others synthetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.lab.evaluation.bootstrap import Bootstrap, Estimate, share
from worker.lab.evaluation.items import Items


@dataclass(frozen=True)
class Recall:
    """The images of one label from one data set."""

    dataset: str
    label: str
    synthetic: bool
    authentic_only: bool
    """Whether the data set has authentic images alone."""
    count: int
    pictures: int
    at_half: Estimate
    """The share called what they are, at threshold 0.5."""
    at_best: Estimate | None

    @property
    def false_positive_rate(self) -> Estimate:
        """The share called synthetic at 0.5, of authentic images."""
        return complement(self.at_half)


def recalls_by_dataset(items: Items, half: float, best: float | None, bootstrap: Bootstrap) -> tuple[Recall, ...]:
    """One row a data set and label, authentic ones first; `half` and `best` are thresholds."""
    origins = [
        (bool(kind), entry.dataset, entry.label) for kind, entry in zip(items.synthetic, items.entries, strict=True)
    ]
    names = sorted(set(origins))
    places = {name: place for place, name in enumerate(names)}
    rows = np.array([places[origin] for origin in origins], np.int64)
    mixed = {dataset for kind, dataset, _ in names if kind}
    at_half = _recalls(items, rows, len(names), half, bootstrap)
    at_best = None if best is None else _recalls(items, rows, len(names), best, bootstrap)
    return tuple(
        Recall(
            dataset=dataset,
            label=label,
            synthetic=kind,
            authentic_only=not kind and dataset not in mixed,
            count=int((rows == place).sum()),
            pictures=len(np.unique(items.pictures[rows == place])),
            at_half=at_half[place],
            at_best=None if at_best is None else at_best[place],
        )
        for place, (kind, dataset, label) in enumerate(names)
    )


def complement(share: Estimate) -> Estimate:
    """1 − share, interval and all."""
    value, low, high = (None if end is None else 1 - end for end in (share.value, share.high, share.low))
    return Estimate(value, low, high)


def _recalls(
    items: Items, rows: NDArray[np.int64], count: int, threshold: float, bootstrap: Bootstrap
) -> list[Estimate]:
    right = (items.scores >= threshold) == items.synthetic
    tables = bootstrap.tables(items.pictures, rows, right.astype(np.int64), (count, 2))
    return [
        share(float(right[rows == row].mean()), _shares(tables[:, row]), len(np.unique(items.pictures[rows == row])))
        for row in range(count)
    ]


def _shares(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B, 2] counts of wrong and right → [B]; NaN for a resample without items."""
    counts = tables.sum(axis=1)
    return np.where(counts > 0, tables[:, 1] / np.maximum(counts, 1), np.nan)
