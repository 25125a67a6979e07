"""Encoding, resizing and thumbnails of pixel arrays, for training, evaluation and their reports.

Pixels are uint8 [H, W, 3], RGB. What is encoded is decoded by the decoder that workers use.
"""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.intake.decode import decode

Pixels = NDArray[np.uint8]
Format = Literal["JPEG", "WEBP"]

ALTERING_BYTES = 48
"""What an alteration and judging its result allocate at most per pixel of the original. Measured: 40, for twice the
sides (`bench.decoding_memory`)."""
LARGEST_SIDE: dict[Format, int] = {"JPEG": 65_500, "WEBP": 16_383}
"""Pixels; the largest side of an image in each format, as Pillow writes it."""


def encode(pixels: Pixels, format: Format, quality: int, **options: Any) -> bytes:
    """A lossy encoding; `options` are those of Pillow's writer. JPEG's chroma is halved (4:2:0) by default."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format, quality=quality, **options)
    return buffer.getvalue()


def reencode(pixels: Pixels, format: Format, quality: int, **options: Any) -> Pixels | None:
    """The pixels after encoding and decoding; None when a side exceeds what the format allows."""
    height, width = pixels.shape[:2]
    if max(height, width) > LARGEST_SIDE[format]:
        return None
    return decode(encode(pixels, format, quality, **options), max_pixels=height * width).pixels


def scaled_size(pixels: Pixels, scale: float) -> tuple[int, int]:
    """Width and height, each at least 1, of pixels whose sides are multiplied by `scale`."""
    height, width = pixels.shape[:2]
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize(pixels: Pixels, size: tuple[int, int], resampling: Image.Resampling = Image.Resampling.LANCZOS) -> Pixels:
    """The pixels at another size (width, height). Pillow widens the filter when it shrinks, so nothing aliases."""
    return np.asarray(Image.fromarray(pixels).resize(size, resampling))


def thumbnail_uri(pixels: Pixels, longest: int) -> str:
    """A JPEG with sides of at most `longest` pixels, as a `data:` URI."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest))
    return f"data:image/jpeg;base64,{base64.b64encode(encode(np.asarray(image), 'JPEG', 80)).decode()}"
