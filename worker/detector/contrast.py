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

_ROWS_AT_ONCE = 64  # keeps the float copies in the cache
_RED, _GREEN, _BLUE = (np.float32(weight) for weight in (0.2989, 0.587, 0.114))
_LARGEST_SIZE = 2**24 // 255**2 + GLCM_DISTANCE  # up to here a row's sum of squares is exact in float32


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray levels of an RGB image, uint8 [H, W, 3] → uint8 [H, W].

    0.2989 R + 0.587 G + 0.114 B in float32, truncated: torchvision's `rgb_to_grayscale`, with which
    SuSy selects its tiles. Pillow's mode `L` rounds and differs by one on about half of all pixels,
    enough to reorder tiles that nearly tie.
    """
    gray = np.empty(image.shape[:2], np.uint8)
    for top in range(0, image.shape[0], _ROWS_AT_ONCE):
        rows = image[top : top + _ROWS_AT_ONCE]
        levels = np.multiply(rows[..., 0], _RED, dtype=np.float32)
        levels += np.multiply(rows[..., 1], _GREEN, dtype=np.float32)
        levels += np.multiply(rows[..., 2], _BLUE, dtype=np.float32)
        gray[top : top + _ROWS_AT_ONCE] = levels  # truncates
    return gray


def tile_contrasts(gray: NDArray[np.uint8], grid: Grid, size: int = TILE) -> NDArray[np.float64]:
    """GLCM contrast of each tile, float64 [T] in 0..65025, in squared gray levels.

    `gray` is uint8 [H, W]; `grid` int32 [T, 2] of corners (x, y); `size` at most 263. All sums are
    integers that their type holds, so the result is exact to the last division.
    """
    if not GLCM_DISTANCE < size <= _LARGEST_SIZE:
        raise ValueError(f"a tile's size must be {GLCM_DISTANCE + 1} to {_LARGEST_SIZE}, not {size}")
    pairs = size * (size - GLCM_DISTANCE)
    contrasts = np.empty(len(grid), np.float64)
    for index, (x, y) in enumerate(grid.tolist()):
        tile = gray[y : y + size, x : x + size]
        difference = np.subtract(tile[:, GLCM_DISTANCE:], tile[:, :-GLCM_DISTANCE], dtype=np.float32)
        of_rows = np.einsum("yx,yx->y", difference, difference)
        contrasts[index] = of_rows.sum(dtype=np.float64) / pairs
    return contrasts


def highest(contrasts: NDArray[np.float64], count: int = SELECTED_TILES) -> NDArray[np.intp]:
    """Indices [≤ count] of the tiles of highest contrast, highest first; of equal ones the earlier."""
    return np.argsort(-contrasts, kind="stable")[:count]
