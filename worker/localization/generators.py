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
