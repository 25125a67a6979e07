"""Rows of an evaluation made directly, for tests of its figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.support.labelled import Encoded
from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.items import Items, Level

CLASSES = ("authentic", "green", "blue")


def made_rows(
    probabilities: NDArray[np.float64] | Sequence[Sequence[float]],
    labels: Sequence[str],
    *,
    pictures: Sequence[int] | None = None,
    datasets: Sequence[str] | None = None,
) -> Items:
    """Rows with these class probabilities; a label that is not a class is synthetic unless it begins with `real`."""
    distribution = np.asarray(probabilities, float).reshape(len(labels), len(CLASSES))
    shown = list(pictures) if pictures is not None else list(range(len(labels)))
    origins = datasets or labels
    return Items(
        Level.IMAGE,
        distribution,
        1 - distribution[:, 0],
        np.array([label != "authentic" and not label.startswith("real") for label in labels], np.bool_),
        np.array([CLASSES.index(label) if label in CLASSES else -1 for label in labels], np.int64),
        np.array(shown, np.int64),
        tuple(
            Entry(f"{number}", label, "test", origin, f"{picture}", Encoded(b""))
            for number, (label, origin, picture) in enumerate(zip(labels, origins, shown, strict=True))
        ),
    )


def scored_rows(scores: Sequence[float], synthetic: Sequence[bool], *, pictures: Sequence[int] | None = None) -> Items:
    """Rows with these scores, authentic or green."""
    return made_rows(
        [[1 - score, score, 0] for score in scores],
        ["green" if kind else "authentic" for kind in synthetic],
        pictures=pictures,
    )


def random_rows(count: int, seed: int = 0, pictures: int | None = None) -> Items:
    """Rows of all three classes, more often classified correctly than not."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=count)
    concentration = np.where(np.arange(3) == labels[:, None], 2.0, 0.7)
    probabilities = np.array([generator.dirichlet(row) for row in concentration])
    shown = generator.integers(pictures, size=count) if pictures else np.arange(count)
    return made_rows(
        probabilities, [CLASSES[index] for index in labels], pictures=np.unique(shown, return_inverse=True)[1].tolist()
    )
