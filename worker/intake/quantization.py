"""The quality at which a JPEG was saved, from its quantization table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Table K.1 of the JPEG standard, for luminance, in zigzag order: what libjpeg scales by the quality.
_STANDARD = np.array([
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
    60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113,
    121, 112, 100, 120, 92, 101, 103, 99,
])  # fmt: skip
_MAX = 255


def _scaled(quality: int) -> NDArray[np.int64]:
    """The table of a quality, as libjpeg's `jpeg_set_quality` makes it."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.asarray(np.clip((_STANDARD * scale + 50) // 100, 1, _MAX))


_TABLES = np.stack([_scaled(quality) for quality in range(1, 101)])


def read_tables(segment: bytes, tables: dict[int, tuple[int, ...]]) -> None:
    """Add the tables of a DQT segment's body, each by its number, with its 64 values in zigzag order."""
    position = 0
    while position < len(segment):
        is_wide, number = segment[position] >> 4, segment[position] & 15
        end = position + 1 + (128 if is_wide else 64)
        values = np.frombuffer(segment[position + 1 : end], ">u2" if is_wide and end <= len(segment) else np.uint8)
        if len(values) != 64:
            return
        tables[number] = tuple(values.tolist())
        position = end


def quality_of(table: tuple[int, ...]) -> int:
    """The quality, 1..100 on libjpeg's scale, whose table is nearest to this one of 64 values in zigzag order.

    Exact for the tables of libjpeg and of what follows it; others, as of cameras and Photoshop, have a nearest one.
    """
    distances = np.abs(_TABLES - np.minimum(table, _MAX)).sum(axis=1)
    return 100 - int(distances[::-1].argmin())
