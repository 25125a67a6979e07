"""How well a map or its regions show a part of the image that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schema.verdict import Region
from worker.localization.heatmap import Heatmap, rasterize

Box = tuple[int, int, int, int]
"""x, y, width, height in image pixels."""


def region_overlap(regions: Sequence[Region], box: Box) -> float:
    """Intersection over union, 0..1, of the first of `regions` and `box`; 0 without regions."""
    if not regions:
        return 0.0
    found, (x, y, width, height) = regions[0], box
    across = min(found.x + found.width, x + width) - max(found.x, x)
    down = min(found.y + found.height, y + height) - max(found.y, y)
    both = max(0, across) * max(0, down)
    return both / (found.width * found.height + width * height - both)


def overlap(heat: Heatmap, box: Box, at: float) -> float:
    """Intersection over union, 0..1, of the cells whose score is at least `at` and `box`."""
    found = rasterize(heat, max(heat.width, heat.height)) >= at  # NaN compares false
    x, y, width, height = box
    true = np.zeros_like(found)
    true[y : y + height, x : x + width] = True
    return float((found & true).sum() / (found | true).sum())
