"""The one way from what a file stores to RGB. `docs/intake.md` has it as a table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from worker.errors import ErrorCode, PermanentError

STRIP_PIXELS = 1 << 18
"""Pixels converted at a time: what conversion needs beside the image stays at a few megabytes."""
WHITE = 255

ColorKey = tuple[int, ...]
"""The one gray level or RGB color that counts as transparent, in the range of the decoded samples."""


def write_rgb(image: Pillow.Image, target: NDArray[np.uint8], key: ColorKey | None = None) -> None:
    """Convert `image`, loaded, into `target` uint8 [H, W, 3], a view of any strides.

    Raises `PermanentError(unsupported_format)` for a mode that no allowed format decodes to.
    """
    for top, bottom in _strips(image.width, image.height):
        strip = image.crop((0, top, image.width, bottom))
        target[top:bottom] = _colors(strip, key)


def _strips(width: int, height: int) -> Iterator[tuple[int, int]]:
    rows = max(1, STRIP_PIXELS // width)
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def _colors(strip: Pillow.Image, key: ColorKey | None) -> NDArray[np.uint8]:
    """uint8 [h, w, 3], or [h, w, 1] where it is gray."""
    match strip.mode:
        case "RGB":
            colors = np.asarray(strip)
        case "1":
            colors = np.asarray(strip.convert("L"))[..., None]
        case "L" if "transparency" not in strip.info:
            colors = np.asarray(strip)[..., None]
        case "I;16" | "I":
            samples = np.asarray(strip).astype(np.uint32)[..., None]
            colors = ((samples + 128) // 257).astype(np.uint8)
            return colors if key is None else _keyed(colors, samples, key)
        case "CMYK":
            colors = np.asarray(strip.convert("RGB"))
        case "P" if "transparency" not in strip.info:
            colors = np.asarray(strip.convert("RGB"))
        case "L" | "P" | "LA" | "PA" | "RGBA":
            return _over_white(np.asarray(strip.convert("RGBA")))
        case mode:
            raise PermanentError(
                ErrorCode.UNSUPPORTED_FORMAT, f"pixels of the kind {mode} have no way to RGB here; convert the image"
            )
    return colors if key is None else _keyed(colors, colors, key)


def _over_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite uint8 [h, w, 4], straight alpha, over white; rounded to nearest."""
    alpha = rgba[..., 3:].astype(np.uint16)
    # At most 255 × 255 + 127, which still fits into 16 bits.
    return ((rgba[..., :3] * alpha + WHITE * (255 - alpha) + 127) // 255).astype(np.uint8)


def _keyed(colors: NDArray[np.uint8], samples: NDArray[np.generic], key: ColorKey) -> NDArray[np.uint8]:
    transparent = (samples == np.array(key)).all(axis=-1, keepdims=True)
    return np.where(transparent, np.uint8(WHITE), colors)
