"""Which tiles are worth scoring: the contrast of the gray-level co-occurrence matrix (GLCM).

SuSy scores the tiles of highest GLCM contrast at distance 5, angle 0, 256 levels, symmetric, normed.
That number needs no matrix. The matrix's contrast is the sum over pairs of gray levels (i, j) of
P(i, j) (i − j)², P counts the pairs (g[y, x], g[y, x + 5]), and (i − j)² is symmetric, so the contrast
is the mean of (g[y, x + 5] − g[y, x])² over the tile.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schema.scan import TILE
from worker.detector.tiles import Grid

GLCM_DISTANCE = 5
SELECTED_TILES = 5
"""How many tiles of highest contrast the released example scores."""

_ROWS_AT_ONCE = 256  # bounds the float copies of a large image to a few megabytes
_RED, _GREEN, _BLUE = (np.arange(256, dtype=np.float32) * np.float32(weight) for weight in (0.2989, 0.587, 0.114))


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray levels of an RGB image, uint8 [H, W, 3] → uint8 [H, W].

    0.2989 R + 0.587 G + 0.114 B in float32, truncated: torchvision's `rgb_to_grayscale`, with which
    SuSy selects its tiles. Pillow's mode `L` rounds and differs by one on about half of all pixels,
    enough to reorder tiles that nearly tie.
    """
    gray = np.empty(image.shape[:2], np.uint8)
    for top in range(0, image.shape[0], _ROWS_AT_ONCE):
        rows = image[top : top + _ROWS_AT_ONCE]
        levels = _RED[rows[..., 0]]
        levels += _GREEN[rows[..., 1]]
        levels += _BLUE[rows[..., 2]]
        gray[top : top + _ROWS_AT_ONCE] = levels.astype(np.uint8)
    return gray


def tile_contrasts(gray: NDArray[np.uint8], grid: Grid, size: int = TILE) -> NDArray[np.float64]:
    """GLCM contrast of each tile, float64 [T] in 0..65025, in squared gray levels.

    `gray` is uint8 [H, W]; `grid` int32 [T, 2] of corners (x, y). Sums are integers, so the result is
    exact to the last division.
    """
    pairs = size * (size - GLCM_DISTANCE)
    signed = gray.astype(np.int16)
    contrasts = np.empty(len(grid), np.float64)
    for index, (x, y) in enumerate(grid.tolist()):
        tile = signed[y : y + size, x : x + size]
        difference = (tile[:, GLCM_DISTANCE:] - tile[:, :-GLCM_DISTANCE]).astype(np.int32)
        contrasts[index] = int(np.vdot(difference, difference)) / pairs
    return contrasts


def highest(contrasts: NDArray[np.float64], count: int = SELECTED_TILES) -> NDArray[np.intp]:
    """Indices [≤ count] of the tiles of highest contrast, highest first; of equal ones the earlier."""
    return np.argsort(-contrasts, kind="stable")[:count]
