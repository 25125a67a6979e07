"""Which tiles are worth scoring: the contrast of the gray-level co-occurrence matrix (GLCM).

SuSy scores the tiles of highest GLCM contrast at distance 5, angle 0, 256 levels, symmetric, normed.
This number can be computed without the matrix. The matrix's contrast is the sum over pairs of gray levels (i, j) of
P(i, j) (i − j)², P counts the pairs (g[y, x], g[y, x + 5]), and (i − j)² is symmetric, so the contrast
is the mean of (g[y, x + 5] − g[y, x])² over the tile.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from schema.scan import TILE
from worker.detector.tiles import Grid

GLCM_DISTANCE = 5
SELECTED_TILES = 5
"""How many tiles of highest contrast the released example scores."""

_PIXELS_AT_ONCE = 1 << 16  # what is computed of them stays in the cache
_ROWS_AT_ONCE = 256  # up to 258 rows, a column's sum of squares is exact in float32
_LARGEST_SIZE = 2**32 // 255**2  # of a tile that was ever allowed; sums are int64
_RED, _GREEN, _BLUE = (np.float32(weight) for weight in (0.2989, 0.587, 0.114))


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray levels of an RGB image, uint8 [H, W, 3] → uint8 [H, W].

    0.2989 R + 0.587 G + 0.114 B in float32, truncated: torchvision's `rgb_to_grayscale`, with which
    SuSy selects its tiles. Pillow's mode `L` rounds and differs by one on about half of all pixels,
    enough to reorder tiles of nearly equal contrast.
    """
    gray = np.empty(image.shape[:2], np.uint8)
    levels = _Levels(image)
    for top in range(0, len(image), levels.rows):
        some = slice(top, top + levels.rows)
        gray[some] = levels(some)
    return gray


def tile_contrasts(image: NDArray[np.uint8], grid: Grid, size: int = TILE) -> NDArray[np.float64]:
    """GLCM contrast of each tile, float64 [T] in 0..65025, in squared gray levels.

    `image` is uint8, RGB [H, W, 3] or gray levels [H, W]; `grid` int32 [T, 2] of corners (x, y); `size` at least 6. All
    sums are integers that fit their type, so only the last division rounds.
    """
    if not GLCM_DISTANCE < size <= _LARGEST_SIZE:
        raise ValueError(f"a tile's size must be {GLCM_DISTANCE + 1} to {_LARGEST_SIZE}, not {size}")
    contrasts = np.empty(len(grid), np.float64)
    lefts, tops = grid.T
    width, pairs = size - GLCM_DISTANCE, size * (size - GLCM_DISTANCE)
    above = _squares_above(image, np.unique([tops, tops + size]))
    for top in np.unique(tops).tolist():
        of_columns = np.cumsum(above[top + size] - above[top])
        chosen = tops == top
        contrasts[chosen] = (of_columns[lefts[chosen] + width] - of_columns[lefts[chosen]]) / pairs
    return contrasts


def _squares_above(image: NDArray[np.uint8], edges: NDArray[np.int32]) -> dict[int, NDArray[np.int64]]:
    """For each edge between rows, ascending: sums over the rows from the first edge to it.

    Column x + 1 of int64 [W + 1] has the sum of (g[y, x + 5] − g[y, x])²; the last five columns are meaningless.
    """
    levels = _Levels(image)
    width = image.shape[1]
    squares = np.zeros(levels.rows * width, np.float32)
    total = np.zeros(width + 1, np.int64)
    above = {edge: total.copy() for edge in edges[:1].tolist()}
    for start, end in pairwise(edges.tolist()):
        for top in range(start, end, levels.rows):
            # One dimension is contiguous, and fast; the last pairs of each row then reach into the next row.
            some = levels(slice(top, min(top + levels.rows, end))).reshape(-1)
            part = squares[: len(some)]
            pairs = np.subtract(some[GLCM_DISTANCE:], some[:-GLCM_DISTANCE], out=part[:-GLCM_DISTANCE])
            np.square(pairs, out=pairs)
            total[1:] += part.reshape(-1, width).sum(axis=0).astype(np.int64)
        above[end] = total.copy()
    return above


class _Levels:
    """Gray levels of some rows of an image at a time, as whole numbers in float32 [h, W], valid until the next call."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        """`image` is uint8, RGB [H, W, 3] or gray levels [H, W]."""
        self._image = image
        width = max(1, image.shape[1])
        self.rows = min(max(1, _PIXELS_AT_ONCE // width), _ROWS_AT_ONCE)
        """How many rows to ask for at most."""
        size = self.rows * width
        self._words, self._masked = np.empty(size, np.int32), np.empty(size, np.int32)
        self._levels, self._product = np.empty(size, np.float32), np.empty(size, np.float32)

    def __call__(self, some: slice) -> NDArray[np.float32]:
        rows = self._image[some]
        count = rows.shape[0] * rows.shape[1]
        levels = self._levels[:count]
        if rows.ndim == 2:
            levels.reshape(rows.shape)[:] = rows
        elif count:
            words = self._words_of(np.ascontiguousarray(rows).reshape(-1), count)
            self._weigh(words, 0xFF, _RED, levels)
            # Scaled by powers of two, the products are rounded as they would be without.
            levels += self._weigh(words, 0xFF00, _GREEN / 2**8, self._product[:count])
            levels += self._weigh(words, 0xFF0000, _BLUE / 2**16, self._product[:count])
            np.trunc(levels, out=levels)
        return levels.reshape(rows.shape[:2])

    def _words_of(self, pixels: NDArray[np.uint8], count: int) -> NDArray[np.int32]:
        """One number per pixel: red in its lowest byte, then green, blue, and the next pixel's red.

        Channels are then apart without strides of three bytes, which are what costs time.
        """
        words = self._words[:count]
        words[:-1] = np.ndarray(count - 1, "<i4", pixels, strides=3)
        words[-1] = int.from_bytes(pixels[-3:].tobytes(), "little")
        return words

    def _weigh(
        self, words: NDArray[np.int32], mask: int, weight: np.float32, out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        out[:] = np.bitwise_and(words, mask, out=self._masked[: len(words)])
        out *= weight
        return out


def highest(contrasts: NDArray[np.float64], count: int | None = SELECTED_TILES) -> NDArray[np.intp]:
    """Indices [≤ count] of the tiles of highest contrast, highest first; of equal ones, the earlier first."""
    return np.argsort(-contrasts, kind="stable")[:count]
