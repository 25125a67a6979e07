"""What is evaluated and how, the meaning of the labels, and the rows that figures are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from worker.errors import ConfigurationError, ErrorCode, InputDataError
from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.bootstrap import Bootstrap
from worker.lab.evaluation.scorer import softmax
from worker.lab.evaluation.scoring import Scores, Treatment
from worker.policy.decide import aggregate, evidence
from worker.policy.policy import Aggregation, Rule


@dataclass(frozen=True)
class Label:
    """What a label of the data set means to the weights under evaluation."""

    label: str
    synthetic: bool
    index: int | None
    """The label's class among the weights'; None for a label that counts in detection only."""


@dataclass(frozen=True)
class Declarations:
    """What the user declares about labels that are not classes of the weights."""

    authentic: tuple[str, ...] = ()
    """Labels that count in detection only, as authentic."""
    synthetic: tuple[str, ...] = ()
    """Labels that count in detection only, as synthetic."""
    alias: Mapping[str, str] = field(default_factory=dict)
    """Labels that are classes of the weights under another name, label → class."""


@dataclass(frozen=True)
class Options:
    """What is evaluated, and how."""

    treatment: Treatment
    split: str = "test"
    rule: Rule = Rule.SUM
    aggregate: Aggregation = Aggregation.MEAN
    declared: Declarations = field(default_factory=Declarations)
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    skip_unreadable: bool = False


def read_labels(entries: Iterable[Entry], classes: Sequence[str], declared: Declarations) -> dict[str, Label]:
    """The meaning of each label of `entries`: a class of the weights, another name of one, or declared authentic or
    synthetic.

    Raises `InputDataError` (`data_invalid`) naming the labels that are none of these and the remedy, and
    `ConfigurationError` (`settings`) for a declaration that fits neither the data nor the weights.
    """
    present, alias = sorted({entry.label for entry in entries}), declared.alias
    kinds = {**dict.fromkeys(declared.authentic, False), **dict.fromkeys(declared.synthetic, True)}
    if both := sorted(set(declared.authentic) & set(declared.synthetic)):
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{', '.join(both)}: declared --authentic and --synthetic; leave one out"
        )
    if absent := sorted((kinds.keys() | alias.keys()) - set(present)):
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"no image is labelled {', '.join(absent)}; there are {', '.join(present)}"
        )
    if taken := [label for label in kinds if label in classes or label in alias]:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{', '.join(taken)}: a class of the weights already; leave out its declaration"
        )
    if unknown_classes := sorted(set(alias.values()) - set(classes)):
        raise ConfigurationError(
            ErrorCode.SETTINGS,
            f"--alias names {', '.join(unknown_classes)}, but the weights' classes are {', '.join(classes)}",
        )

    meanings: dict[str, Label] = {}
    for label in present:
        name = alias.get(label, label)
        if name in classes:
            index = list(classes).index(name)
            meanings[label] = Label(label, synthetic=index > 0, index=index)
        elif label in kinds:
            meanings[label] = Label(label, synthetic=kinds[label], index=None)
    if unknown := [label for label in present if label not in meanings]:
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"{', '.join(unknown)}: not among the weights' classes ({', '.join(classes)}); count such images in "
            "detection with --synthetic LABEL or --authentic LABEL, or say which class they are: --alias LABEL=CLASS",
        )
    return meanings


class Level(StrEnum):
    """What one row stands for."""

    PATCH = "patch"
    """One tile, as in the card's tables."""
    IMAGE = "image"
    """One image, its tiles aggregated, as a worker decides."""


@dataclass(frozen=True, eq=False)
class Items:
    """N rows of one level."""

    level: Level
    probabilities: NDArray[np.float64]
    """[N, C] class probabilities."""
    scores: NDArray[np.float64]
    """[N] the rule's score in 0..1; predicted synthetic at or above a threshold."""
    synthetic: NDArray[np.bool_]
    """[N] whether its label is synthetic."""
    index: NDArray[np.int64]
    """[N] its true class, or −1 when that is not among the weights'."""
    pictures: NDArray[np.int64]
    """[N] number of the picture it shows, by which rows are resampled."""
    entries: tuple[Entry, ...]
    """[N] the image it is, or is part of."""

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """[N] the most probable class."""
        return np.asarray(self.probabilities.argmax(axis=1))


def make_items(
    scores: Scores, labels: Mapping[str, Label], *, temperature: float, rule: Rule, how: Aggregation, **fractions: float
) -> dict[Level, Items]:
    """Both levels of one variant's scores, aggregated and scored by the functions of the policy.

    `fractions` are the `trim_fraction` and the `top_fraction` of a policy, by default those of `aggregate`.
    """
    patches = softmax(scores.logits, temperature).astype(np.float64)
    starts = np.searchsorted(scores.image, np.arange(1, len(scores.entries)))
    images = np.array(
        [aggregate(tiles, how, **fractions) for tiles in np.split(patches, starts)] if scores.entries else []
    )
    of_patches = tuple(scores.entries[number] for number in scores.image.tolist())
    return {
        Level.PATCH: _items(Level.PATCH, patches, of_patches, labels, rule),
        Level.IMAGE: _items(Level.IMAGE, images.reshape(-1, patches.shape[1]), scores.entries, labels, rule),
    }


def classified_logits(scores: Scores, labels: Mapping[str, Label]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits [P, C] and true classes [P] of the tiles whose label is a class of the weights."""
    of_images = np.array([-1 if (index := labels[entry.label].index) is None else index for entry in scores.entries])
    classes = of_images[scores.image] if len(of_images) else np.empty(0, np.int64)
    return scores.logits[classes >= 0], classes[classes >= 0]


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
        synthetic=np.array([label.synthetic for label in of_entries], np.bool_),
        index=np.array([-1 if label.index is None else label.index for label in of_entries], np.int64),
        pictures=np.array([numbers.setdefault(entry.picture, len(numbers)) for entry in entries], np.int64),
        entries=tuple(entries),
    )
