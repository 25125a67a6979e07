"""What the labels of a data set mean to the weights under evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worker.errors import ConfigurationError, ErrorCode, InputDataError


@dataclass(frozen=True)
class Label:
    """What is true of every image with one label."""

    label: str
    synthetic: bool
    index: int | None
    """The label's class among the weights'; None for a label that counts in detection alone."""


def read_labels(
    labels: Iterable[str],
    classes: Sequence[str],
    *,
    authentic: Iterable[str] = (),
    synthetic: Iterable[str] = (),
    alias: Mapping[str, str] | None = None,
) -> dict[str, Label]:
    """What each label means. A label is a class of the weights, another name of one (`alias`, label → class), or is
    declared `authentic` or `synthetic` and then counts in detection alone.

    Raises `InputDataError` (`data_invalid`) naming the labels that are none of these and the remedy, and
    (`settings`) for a declaration that fits neither the data nor the weights.
    """
    present, alias = sorted(set(labels)), alias or {}
    declared = {**dict.fromkeys(authentic, False), **dict.fromkeys(synthetic, True)}
    if both := sorted(set(authentic) & set(synthetic)):
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{', '.join(both)}: declared --authentic and --synthetic; leave one out"
        )
    if absent := sorted((declared.keys() | alias.keys()) - set(present)):
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"no image is labelled {', '.join(absent)}; there are {', '.join(present)}"
        )
    if taken := [label for label in declared if label in classes or label in alias]:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{', '.join(taken)}: a class of the weights already; leave out its declaration"
        )
    if nowhere := sorted(set(alias.values()) - set(classes)):
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"--alias names {', '.join(nowhere)}, but the weights' classes are {', '.join(classes)}"
        )

    read: dict[str, Label] = {}
    for label in present:
        name = alias.get(label, label)
        if name in classes:
            index = list(classes).index(name)
            read[label] = Label(label, synthetic=index > 0, index=index)
        elif label in declared:
            read[label] = Label(label, synthetic=declared[label], index=None)
    if unknown := [label for label in present if label not in read]:
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"{', '.join(unknown)}: not among the weights' classes ({', '.join(classes)}); count such images in "
            "detection with --synthetic LABEL or --authentic LABEL, or say which class they are: --alias LABEL=CLASS",
        )
    return read
