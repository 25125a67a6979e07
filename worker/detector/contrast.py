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

_ROWS_AT_ONCE = 32  # what is computed of them stays in the cache; up to 258 rows, sums of squares are exact in float32
_PIXELS_AT_ONCE = 1 << 18  # of very wide images, which are computed in fewer rows
_COLUMNS_AT_ONCE = 512  # of an image that lies turned: each is in another row of the file
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
    differences = np.zeros(levels.rows * width, np.float32)
    total = np.zeros(width + 1, np.int64)
    above = {edge: total.copy() for edge in edges[:1].tolist()}
    for start, end in pairwise(edges.tolist()):
        for top in range(start, end, levels.rows):
            # One dimension is contiguous, and fast; the last pairs of each row then reach into the next row.
            some = levels(slice(top, min(top + levels.rows, end))).reshape(-1)
            part = differences[: len(some)]
            np.subtract(some[GLCM_DISTANCE:], some[:-GLCM_DISTANCE], out=part[:-GLCM_DISTANCE])
            part = part.reshape(-1, width)
            total[1:] += np.einsum("rc,rc->c", part, part).astype(np.int64)
        above[end] = total.copy()
    return above


class _Levels:
    """Gray levels of some rows of an image at a time, as whole numbers in float32 [h, W], valid until the next call."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        """`image` is uint8, RGB [H, W, 3] or gray levels [H, W]."""
        self._image, self._words_in_place = image, _words_in_place(image)
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
            words = self._words_of(some)
            self._weigh(words, 0xFF, _RED, levels)
            # Scaled by powers of two, the products are rounded as they would be without.
            levels += self._weigh(words, 0xFF00, _GREEN / 2**8, self._product[:count])
            levels += self._weigh(words, 0xFF0000, _BLUE / 2**16, self._product[:count])
            np.trunc(levels, out=levels)
        return levels.reshape(rows.shape[:2])

    def _words_of(self, some: slice) -> NDArray[np.int32]:
        """One number per pixel: red in its lowest byte, then green, blue, and a byte that is not the pixel's.

        Channels are then apart without strides of three bytes, which are what costs time.
        """
        if self._words_in_place is not None:
            rows = self._words_in_place[some]
            if rows.flags.c_contiguous:
                return rows.reshape(-1)
            words = self._words[: rows.size]
            upright = words.reshape(rows.shape)
            for left in range(0, rows.shape[1], _COLUMNS_AT_ONCE):
                columns = slice(left, left + _COLUMNS_AT_ONCE)
                upright[:, columns] = rows[:, columns]
        else:
            pixels = np.ascontiguousarray(self._image[some]).reshape(-1)
            words = self._words[: len(pixels) // 3]
            words[:-1] = np.ndarray(len(words) - 1, "<i4", pixels, strides=3)
            words[-1] = int.from_bytes(pixels[-3:].tobytes(), "little")
        return words

    def _weigh(
        self, words: NDArray[np.int32], mask: int, weight: np.float32, out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        out[:] = np.bitwise_and(words, mask, out=self._masked[: len(words)])
        out *= weight
        return out


def _words_in_place(image: NDArray[np.uint8]) -> NDArray[np.int32] | None:
    """The words [H, W] of an image that is a view, turned or not, of an array [h, w, 4]; None of another image."""
    stored = image.base
    if image.ndim != 3 or not isinstance(stored, np.ndarray) or stored.dtype != np.uint8 or stored.shape[2:] != (4,):
        return None
    offset = image.__array_interface__["data"][0] - stored.__array_interface__["data"][0]
    if not stored.flags.c_contiguous or image.strides[2] != 1 or any(step % 4 for step in (offset, *image.strides[:2])):
        return None
    return np.ndarray(image.shape[:2], "<i4", stored, offset, image.strides[:2])


def highest(contrasts: NDArray[np.float64], count: int | None = SELECTED_TILES) -> NDArray[np.intp]:
    """Indices [≤ count] of the tiles of highest contrast, highest first; of equal ones, the earlier first."""
    return np.argsort(-contrasts, kind="stable")[:count]
