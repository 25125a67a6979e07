"""Which tiles are worth scoring: the contrast of the gray-level co-occurrence matrix (GLCM).

SuSy scores the tiles of highest GLCM contrast at distance 5, angle 0, 256 levels, symmetric, normed.
This number can be computed without the matrix. The matrix's contrast is the sum over pairs of gray levels (i, j) of
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
_PIXELS_AT_ONCE = 1 << 16  # likewise
_RED, _GREEN, _BLUE = (np.float32(weight) for weight in (0.2989, 0.587, 0.114))
_LARGEST_SIZE = 2**32 // 255**2  # up to this size, a column's sum of squares fits uint32


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray levels of an RGB image, uint8 [H, W, 3] → uint8 [H, W].

    0.2989 R + 0.587 G + 0.114 B in float32, truncated: torchvision's `rgb_to_grayscale`, with which
    SuSy selects its tiles. Pillow's mode `L` rounds and differs by one on about half of all pixels,
    enough to reorder tiles of nearly equal contrast.
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

    `gray` is uint8 [H, W]; `grid` int32 [T, 2] of corners (x, y); `size` at least 6. All sums are integers that
    fit their type, so only the last division rounds.
    """
    if not GLCM_DISTANCE < size <= _LARGEST_SIZE:
        raise ValueError(f"a tile's size must be {GLCM_DISTANCE + 1} to {_LARGEST_SIZE}, not {size}")
    pairs = size * (size - GLCM_DISTANCE)
    contrasts = np.empty(len(grid), np.float64)
    lefts, tops = grid.T
    for top in np.unique(tops):  # tiles in one row share the sums of their columns
        of_columns = _squared_differences(gray[top : top + size])
        for index in np.flatnonzero(tops == top):
            left = lefts[index]
            contrasts[index] = of_columns[left : left + size - GLCM_DISTANCE].sum(dtype=np.uint64) / pairs
    return contrasts


def _squared_differences(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Sums over `rows` [h, W] of (g[y, x + 5] − g[y, x])², uint32 [W]; the last five columns are meaningless."""
    sums = np.zeros(rows.shape[1], np.uint32)
    step = max(1, _PIXELS_AT_ONCE // rows.shape[1])
    for top in range(0, len(rows), step):
        # One dimension is contiguous, and fast; the last pairs of each row then reach into the next row.
        levels = rows[top : top + step].reshape(-1)
        near, far = levels[:-GLCM_DISTANCE], levels[GLCM_DISTANCE:]
        squares = np.zeros(levels.shape, np.uint16)
        squares[:-GLCM_DISTANCE] = np.maximum(near, far) - np.minimum(near, far)
        squares *= squares
        sums += squares.reshape(-1, len(sums)).sum(axis=0, dtype=np.uint32)
    return sums


def highest(contrasts: NDArray[np.float64], count: int | None = SELECTED_TILES) -> NDArray[np.intp]:
    """Indices [≤ count] of the tiles of highest contrast, highest first; of equal ones, the earlier first."""
    return np.argsort(-contrasts, kind="stable")[:count]
