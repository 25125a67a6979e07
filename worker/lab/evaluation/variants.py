"""The model card's alterations of test images: compressed, downscaled, downscaled and upscaled again.

The card and arXiv 2409.14128 name the alterations. We found no quality, factor or filter published with them, so the
parameters here are our choice, and options.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.intake.decode import decode


class Variant(StrEnum):
    """One treatment of every image before its tiles are chosen."""

    ORIGINAL = "original"
    JPEG = "jpeg"
    """Encoded as JPEG and decoded again."""
    DOWNSCALED = "downscaled"
    """Made smaller; fewer tiles remain, and of a small image none."""
    DOWN_UP = "down_up"
    """Made smaller, then as large as before."""


class Filter(StrEnum):
    """How pixels are resampled; Pillow's filters, which widen when an image is made smaller."""

    BOX = "box"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"

    @property
    def resampling(self) -> Image.Resampling:
        return Image.Resampling[self.name]


@dataclass(frozen=True)
class Alterations:
    """The parameters of the variants."""

    quality: int = 75
    """JPEG quality, 1 to 95; chroma is halved (4:2:0). 75 is libjpeg's and Pillow's default."""
    scale: float = 0.5
    """Of width and height, between 0 and 1."""
    filter: Filter = Filter.BICUBIC

    def describe(self, variant: Variant) -> str:
        """The variant in words, for a report."""
        scaled = f"both sides × {self.scale:g}, {self.filter}"
        return {
            Variant.ORIGINAL: "as it is",
            Variant.JPEG: f"JPEG of quality {self.quality}, 4:2:0",
            Variant.DOWNSCALED: scaled,
            Variant.DOWN_UP: f"{scaled}, then back to the first size, {self.filter}",
        }[variant]


def alter(pixels: NDArray[np.uint8], variant: Variant, how: Alterations) -> NDArray[np.uint8]:
    """The variant of an image, uint8 [H, W, 3] → uint8 [H', W', 3]."""
    if variant is Variant.ORIGINAL:
        return pixels
    image = Image.fromarray(pixels)
    if variant is Variant.JPEG:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=how.quality, subsampling="4:2:0")
        return decode(buffer.getvalue(), max_pixels=pixels.shape[0] * pixels.shape[1]).pixels
    size = max(1, round(image.width * how.scale)), max(1, round(image.height * how.scale))
    small = image.resize(size, how.filter.resampling)
    if variant is Variant.DOWNSCALED:
        return np.asarray(small)
    return np.asarray(small.resize(image.size, how.filter.resampling))
