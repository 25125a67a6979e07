"""Scores with their truth: one item per content, its weight, and the group of contents that it errs together with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Labelled:
    """N contents that are known to be synthetic or authentic."""

    scores: NDArray[np.float64]
    """[N] 0..1: what a policy compares with its thresholds."""
    synthetic: NDArray[np.bool_]
    """[N] whether it is."""
    weights: NDArray[np.float64]
    """[N] how many contents each stands for, above 0: 1, or one over the probability that it was drawn."""
    groups: NDArray[np.int64]
    """[N] contents of one group (the picture that they show) err together; see `number_groups`."""
    sources: NDArray[np.str_]
    """[N] the source that submitted it, or the data set that it is from."""

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, mask: NDArray[np.bool_]) -> Labelled:
        """Those of a mask [N]."""
        return Labelled(
            self.scores[mask], self.synthetic[mask], self.weights[mask], self.groups[mask], self.sources[mask]
        )

    @cached_property
    def authentic(self) -> Labelled:
        """The authentic ones."""
        return self.where(~self.synthetic)

    @cached_property
    def generated(self) -> Labelled:
        """The synthetic ones."""
        return self.where(self.synthetic)

    @property
    def names(self) -> list[str]:
        """The sources, sorted."""
        return sorted(set(self.sources.tolist()))


def number_groups(names: Sequence[str]) -> NDArray[np.int64]:
    """A number for each name, the same for the same name, in the order of the names' digests: in no order that matters,
    and always in the same one."""
    digests = {name: hashlib.sha256(name.encode(errors="surrogatepass")).digest() for name in names}
    numbers = {name: number for number, name in enumerate(sorted(digests, key=digests.__getitem__))}
    return np.array([numbers[name] for name in names], np.int64)


def split_in_half(items: Labelled) -> tuple[Labelled, Labelled]:
    """Two halves, each with half of the authentic and half of the synthetic groups; every other one by its number.

    A group is in one half. One that has contents of both kinds is counted with the synthetic ones.
    """
    synthetic = np.unique(items.groups[items.synthetic])
    authentic = np.setdiff1d(items.groups, synthetic)
    mask = np.isin(items.groups, np.concatenate([synthetic[::2], authentic[::2]]))
    return items.where(mask), items.where(~mask)
