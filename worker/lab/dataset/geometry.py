"""Which patches of an image are trained on. Pure: pixels in, corners out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.detector.contrast import highest, luma, tile_contrasts
from worker.detector.tiles import Grid, coverage_grid


@dataclass(frozen=True)
class Geometry:
    """How patches are chosen; the defaults are the model card's."""

    patch: int = 240
    """Side of a patch, in pixels."""
    patches_per_image: int = 5
    """How many patches of highest contrast are kept of an image."""

    @property
    def patch_bytes(self) -> int:
        """Bytes of one patch, uint8 RGB."""
        return self.patch * self.patch * 3


def highest_contrast_patches(image: NDArray[np.uint8], patch: int, count: int) -> Grid:
    """Corners (x, y), int32 [≤ count, 2], of the patches of highest contrast, highest first.

    `image`: uint8 [H, W, 3]. The patches lie side by side, the last row and column moved back to end at the edge:
    every pixel is covered with as little overlap as that needs. An image smaller than a patch has none.
    """
    height, width = image.shape[:2]
    grid = coverage_grid(width, height, stride=patch, size=patch)
    return grid[highest(tile_contrasts(luma(image), grid, size=patch), count)]
