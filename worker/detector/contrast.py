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
_LARGEST_SIZE = 2**32 // 255**2  # of a tile that was ever allowed; sums are int64
_RED, _GREEN, _BLUE = (np.float32(weight) for weight in (0.2989, 0.587, 0.114))


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray levels of an RGB image, uint8 [H, W, 3] → uint8 [H, W].

    0.2989 R + 0.587 G + 0.114 B in float32, truncated: torchvision's `rgb_to_grayscale`, with which
    SuSy selects its tiles. Pillow's mode `L` rounds and differs by one on about half of all pixels,
    enough to reorder tiles of nearly equal contrast.
    """
    if _lies_turned(image):
        return luma(image.swapaxes(0, 1)).T
    gray = np.empty(image.shape[:2], np.uint8)
    levels = _Levels(image)
    some = np.empty((levels.rows, image.shape[1]), np.float32)
    for top in range(0, len(image), levels.rows):
        rows = gray[top : top + levels.rows]
        rows[:] = levels(top, some[: len(rows)])
    return gray


def tile_contrasts(image: NDArray[np.uint8], grid: Grid, size: int = TILE) -> NDArray[np.float64]:
    """GLCM contrast of each tile, float64 [T] in 0..65025, in squared gray levels.

    `image` is uint8, RGB [H, W, 3] or gray levels [H, W]; `grid` int32 [T, 2] of corners (x, y); `size` at least 6. All
    sums are integers that fit their type, so only the last division rounds.
    """
    if not GLCM_DISTANCE < size <= _LARGEST_SIZE:
        raise ValueError(f"a tile's size must be {GLCM_DISTANCE + 1} to {_LARGEST_SIZE}, not {size}")
    height, width = image.shape[:2]
    lefts, tops = grid.T
    # Row by row as the image is stored: a pair's order does not count, so a mirrored tile has the same contrast.
    if image.strides[0] < 0:
        image, tops = image[::-1], height - size - tops
    if image.strides[1] < 0:
        image, lefts = image[:, ::-1], width - size - lefts
    across = size - GLCM_DISTANCE
    if _lies_turned(image):
        image, apart, starts, rows, columns, width = image.swapaxes(0, 1), GLCM_DISTANCE, lefts, across, tops, size
    else:
        apart, starts, rows, columns, width = 0, tops, size, lefts, across
    contrasts = np.empty(len(grid), np.float64)
    above = _squares_above(image, np.unique([starts, starts + rows]), apart)
    for start in np.unique(starts).tolist():
        of_columns = np.cumsum(above[start + rows] - above[start])
        chosen = starts == start
        first = columns[chosen]
        contrasts[chosen] = (of_columns[first + width] - of_columns[first]) / (size * across)
    return contrasts


def _lies_turned(image: NDArray[np.uint8]) -> bool:
    """Whether what lies side by side in memory are an image's columns, as in a file that EXIF turns by 90 degrees."""
    return abs(image.strides[0]) < abs(image.strides[1])


def _squares_above(image: NDArray[np.uint8], edges: NDArray[np.int32], apart: int) -> dict[int, NDArray[np.int64]]:
    """For each edge between rows, ascending: sums over the rows from the first edge to it.

    Column x + 1 of int64 [W + 1] has the sum of (g[y + apart, x] − g[y, x])². If `apart` is 0 it has that of
    (g[y, x + 5] − g[y, x])², and the last five columns are meaningless.
    """
    levels = _Levels(image)
    width = image.shape[1]
    # One dimension is contiguous, and fast; the last pairs of each row then reach into the next row.
    distance = apart * width or GLCM_DISTANCE
    near = np.empty((levels.rows + apart, width), np.float32)
    far = near[apart:]
    total = np.zeros(width + 1, np.int64)
    above = {edge: total.copy() for edge in edges[:1].tolist()}
    for edge in above:
        for row in range(apart):
            levels(edge + row, near[row : row + 1])
    for start, end in pairwise(edges.tolist()):
        for top in range(start, end, levels.rows):
            rows = min(levels.rows, end - top)
            levels(top + apart, far[:rows])
            some = near[: rows + apart].reshape(-1)
            differences = levels.spare[: rows * width]
            np.subtract(some[distance:], some[:-distance], out=differences[: len(some) - distance])
            differences = differences.reshape(rows, width)
            total[1:] += np.einsum("rc,rc->c", differences, differences).astype(np.int64)
            near[:apart] = near[rows : rows + apart]
        above[end] = total.copy()
    return above


class _Levels:
    """Gray levels of some rows of an image at a time, as whole numbers in float32."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        """`image` is uint8, RGB [H, W, 3] or gray levels [H, W]."""
        self._image, self._words_in_place = image, _words_in_place(image)
        width = max(1, image.shape[1])
        self.rows = min(max(1, _PIXELS_AT_ONCE // width), _ROWS_AT_ONCE)
        """How many rows to ask for at most."""
        size = self.rows * width
        self._words, self._pairs = np.empty(size, np.int32), np.empty(size, np.uint16)
        self.spare = np.zeros(size, np.float32)
        """Finite numbers, as many as the levels of `rows` rows, free for any use until the next call."""

    def __call__(self, top: int, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """The levels of the rows from `top`, in `out`, contiguous float32 [h, W] of at most `rows` rows."""
        some = slice(top, top + len(out))
        if self._image.ndim == 2:
            out[:] = self._image[some]
        elif out.size:
            words, levels = self._words_of(some), out.reshape(-1)
            pairs, spare = self._pairs[: len(words)], self.spare[: len(words)]
            pairs[:] = words  # red and green: half as many bytes to read and write
            levels[:] = np.bitwise_and(pairs, 0xFF, out=spare.view(np.uint16)[: len(words)])
            levels *= _RED
            # Scaled by powers of two, the products are rounded as they would be without.
            spare[:] = np.bitwise_and(pairs, 0xFF00, out=pairs)
            spare *= _GREEN / 2**8
            levels += spare
            np.bitwise_and(words, 0xFF0000, out=spare, casting="unsafe")
            spare *= _BLUE / 2**16
            levels += spare
            np.trunc(levels, out=levels)
        return out

    def _words_of(self, some: slice) -> NDArray[np.int32]:
        """One number per pixel: red in its lowest byte, then green, blue, and a byte that is not the pixel's.

        Channels are then apart without strides of three bytes, which are what costs time.
        """
        if self._words_in_place is not None:
            rows = self._words_in_place[some]
            if rows.flags.c_contiguous:
                return rows.reshape(-1)
            words = self._words[: rows.size]
            words.reshape(rows.shape)[:] = rows
        else:
            pixels = np.ascontiguousarray(self._image[some]).reshape(-1)
            words = self._words[: len(pixels) // 3]
            words[:-1] = np.ndarray(len(words) - 1, "<i4", pixels, strides=3)
            words[-1] = int.from_bytes(pixels[-3:].tobytes(), "little")
        return words


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
