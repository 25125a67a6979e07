"""Which generator made what looks synthetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schema.verdict import UNKNOWN_GENERATOR


def leading_generator(
    distribution: NDArray[np.floating], classes: tuple[str, ...], share: float
) -> tuple[str | None, float | None]:
    """The most probable synthetic class, if it holds at least `share` of the synthetic probability, and its share.

    `distribution` has one probability per class, the authentic one first. Below `share` the generator is
    `UNKNOWN_GENERATOR`; without any synthetic probability both are None.
    """
    synthetic = distribution[1:].astype(np.float64)
    leader = int(synthetic.argmax())
    if synthetic[leader] == 0:
        return None, None
    held = synthetic[leader] / synthetic.sum()
    # Scans keep float16, which resolves probabilities to about 0.0005.
    return classes[1 + leader] if held >= share else UNKNOWN_GENERATOR, round(float(held), 4)


def leading_generators(
    distributions: NDArray[np.float64], classes: tuple[str, ...], share: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """`leading_generator` of each distribution [N, C]: places in `generator_names`, and shares that are not rounded.

    The last place where there is no synthetic probability, or the distribution is NaN; the share is NaN there.
    """
    synthetic = distributions[:, 1:]
    leaders = synthetic.argmax(axis=1)
    most = np.take_along_axis(synthetic, leaders[:, None], axis=1)[:, 0]
    with np.errstate(invalid="ignore"):
        held = most / synthetic.sum(axis=1)
        places = np.where(held >= share, leaders, len(classes) - 1)
    return np.where(np.isnan(held), len(classes), places), held


def generator_names(classes: tuple[str, ...]) -> tuple[str | None, ...]:
    """What the places of `leading_generators` mean: the synthetic classes, the unknown generator, none."""
    return (*classes[1:], UNKNOWN_GENERATOR, None)
