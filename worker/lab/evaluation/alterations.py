"""How images are altered before they are judged: the model card's variants, and what happens to images on the web.

All functions map pixels, uint8 [H, W, 3], to pixels. The card and arXiv 2409.14128 name the variants of `susy
evaluate`. We found no quality, factor or filter published with them, so their parameters are our choice, and options.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image

from worker.lab.imaging import Pixels, reencode, resize, scaled_size

THUMBNAIL_QUALITY = 85
"""JPEG quality of thumbnails; platforms encode them again after shrinking."""


class Variant(StrEnum):
    """One treatment of every image before its tiles are selected, in `susy evaluate`."""

    ORIGINAL = "original"
    JPEG = "jpeg"
    """Encoded as JPEG and decoded."""
    DOWNSCALED = "downscaled"
    """Shrunk; fewer tiles remain, and of a small image none."""
    DOWN_UP = "down_up"
    """Shrunk, then enlarged to the first size."""


class Filter(StrEnum):
    """Pillow's resampling filters."""

    BOX = "box"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"

    @property
    def resampling(self) -> Image.Resampling:
        return Image.Resampling[self.name]


@dataclass(frozen=True)
class VariantParameters:
    """The parameters of the variants."""

    quality: int = 75
    """JPEG quality, 1 to 95; chroma is halved (4:2:0). 75 is the default of libjpeg and Pillow."""
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


def make_variant(pixels: Pixels, variant: Variant, parameters: VariantParameters) -> Pixels | None:
    """The variant of an image; None when a side exceeds what JPEG allows."""
    if variant is Variant.ORIGINAL:
        return pixels
    if variant is Variant.JPEG:
        return reencode(pixels, "JPEG", parameters.quality, subsampling="4:2:0")
    resampling = parameters.filter.resampling
    small = resize(pixels, scaled_size(pixels, parameters.scale), resampling)
    if variant is Variant.DOWNSCALED:
        return small
    return resize(small, (pixels.shape[1], pixels.shape[0]), resampling)


@dataclass(frozen=True)
class Family:
    """One kind of alteration at several settings, in `susy stability`."""

    name: str
    title: str
    axis: str
    """What the settings measure."""
    form: str
    """Format of a setting."""
    settings: tuple[float, ...]
    """Ascending."""
    as_is: float
    """The position of the unaltered image among the settings."""
    alter: Callable[[Pixels, float, int], Pixels | None]
    """(pixels, setting, pixel limit of a worker) → the altered pixels, or None where the alteration does not apply: it
    would change nothing, or the result is larger than the format or a worker accepts."""

    def shown(self, setting: float) -> str:
        return self.form.format(setting)


@dataclass(frozen=True)
class Alteration:
    """One family at one setting."""

    family: Family
    setting: float

    def __str__(self) -> str:
        return f"{self.family.name} {self.family.shown(self.setting)}"

    def apply(self, pixels: Pixels, max_pixels: int) -> Pixels | None:
        return self.family.alter(pixels, self.setting, max_pixels)


def _jpeg(pixels: Pixels, quality: float, _max_pixels: int) -> Pixels | None:
    return reencode(pixels, "JPEG", int(quality))


def _webp(pixels: Pixels, quality: float, _max_pixels: int) -> Pixels | None:
    return reencode(pixels, "WEBP", int(quality))


def _resize(pixels: Pixels, scale: float, max_pixels: int) -> Pixels | None:
    width, height = scaled_size(pixels, scale)
    return resize(pixels, (width, height)) if width * height <= max_pixels else None


def _crop(pixels: Pixels, share: float, _max_pixels: int) -> Pixels:
    """The middle, `share` of each side."""
    width, height = scaled_size(pixels, share)
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _shift(pixels: Pixels, count: float, _max_pixels: int) -> Pixels | None:
    """Without the first `count` rows and columns: moves the tiles and the blocks of a JPEG."""
    return np.ascontiguousarray(pixels[int(count) :, int(count) :]) if min(pixels.shape[:2]) > count else None


def _thumbnail(pixels: Pixels, longest: float, _max_pixels: int) -> Pixels | None:
    scale = longest / max(pixels.shape[:2])
    return reencode(resize(pixels, scaled_size(pixels, scale)), "JPEG", THUMBNAIL_QUALITY) if scale < 1 else None


FAMILIES = (
    Family("jpeg", "Saved as JPEG", "quality", "{:g}", tuple(range(40, 100, 5)), 101, _jpeg),
    Family("webp", "Saved as WebP", "quality", "{:g}", (40, 55, 70, 80, 90), 101, _webp),
    Family("resize", "Resized", "scale", "×{:g}", (0.25, 0.35, 0.5, 0.7, 0.85, 1.2, 1.5, 2), 1, _resize),
    Family("crop", "Cropped to its middle", "share of each side", "{:.0%}", (0.5, 0.7, 0.8, 0.9, 0.95), 1, _crop),
    Family("shift", "First rows and columns cut off", "pixels", "{:g} px", (1, 3, 5, 8, 13, 112), 0, _shift),
    Family("thumbnail", "Thumbnail", "longest side", "{:g} px", (512, 800, 1200, 1600), float("inf"), _thumbnail),
)
"""Resizing is by Lanczos, JPEG is 4:2:0. 8 px is one block of a JPEG, 112 px half a tile."""

ALTERATIONS = tuple(Alteration(family, setting) for family in FAMILIES for setting in family.settings)
