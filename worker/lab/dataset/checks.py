"""What a data set must have before anything is trained or measured on it. Nothing is read here but labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from worker.errors import ErrorCode, InputDataError
from worker.lab.dataset.entry import Dataset


def require_splits(dataset: Dataset, splits: Sequence[str]) -> None:
    """Raise `InputDataError` (`data_invalid`) unless each of `splits` has images."""
    counts = Counter(entry.split for entry in dataset)
    for split in splits:
        if not counts[split]:
            there = ", ".join(f"{name} ({counts[name]})" for name in sorted(counts)) or "no image at all"
            raise InputDataError(
                ErrorCode.DATA_INVALID,
                f"{dataset.path} has no image in the split {split}; there is {there}: add some, or choose another",
            )


def require_trainable(dataset: Dataset, classes: Sequence[str] = ()) -> None:
    """Raise `InputDataError` (`data_invalid`) unless one can train on `classes`, or else on all classes there are.

    Each class needs images in `train` and in `val`; without `classes`, a class outside `train` is refused as well.
    """
    require_splits(dataset, ("train", "val"))
    unseen = classes_outside_train(dataset)
    if unseen and not classes:
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"class {', '.join(unseen)} of {dataset.path} has images in other splits, but none in train; "
            "add some, or name the classes to train on",
        )
    for split in ("train", "val"):
        present = {entry.label for entry in dataset.of(split)}
        for name in classes or dataset.labels:
            if name not in present:
                raise InputDataError(
                    ErrorCode.DATA_INVALID,
                    f"class {name} of {dataset.path} has no image in the split {split}; add some or leave it out",
                )


def classes_outside_train(dataset: Dataset) -> tuple[str, ...]:
    """The classes that have images, but none in `train`, if there is a `train` at all; sorted."""
    trained = {entry.label for entry in dataset.of("train")}
    return tuple(name for name in dataset.labels if name not in trained) if trained else ()
