"""What happens to an image on its way through the web, at several settings each, as pixels to pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image as Pillow

from worker.intake.decode import Image, decode

THUMBNAIL_QUALITY = 85
"""JPEG quality of thumbnails; platforms save them again after shrinking them."""
_LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
"""What the formats, as Pillow writes them, can hold."""


@dataclass(frozen=True)
class Family:
    """One kind of alteration."""

    name: str
    title: str
    axis: str
    """What the settings measure."""
    form: str
    """How a setting is written."""
    settings: tuple[float, ...]
    """Ascending."""
    as_is: float
    """Where the image as it is lies among the settings."""
    alter: Callable[[Image, float, int], Image | None]
    """(image, setting, most pixels a worker accepts) → the altered image, or None where the alteration does not apply
    to this image: it would leave it as it is, or make it larger than the format or a worker accepts."""

    def shown(self, setting: float) -> str:
        return self.form.format(setting)


@dataclass(frozen=True)
class Alteration:
    """One family at one setting."""

    family: Family
    setting: float

    def __str__(self) -> str:
        return f"{self.family.name} {self.family.shown(self.setting)}"

    def apply(self, image: Image, max_pixels: int) -> Image | None:
        return self.family.alter(image, self.setting, max_pixels)


def _jpeg(image: Image, quality: float, max_pixels: int) -> Image | None:
    return _encoded(image, "JPEG", quality, max_pixels)


def _webp(image: Image, quality: float, max_pixels: int) -> Image | None:
    return _encoded(image, "WEBP", quality, max_pixels)


def _resized(image: Image, scale: float, max_pixels: int) -> Image | None:
    width, height = (max(1, round(side * scale)) for side in (image.width, image.height))
    if width * height > max_pixels:
        return None
    picture = Pillow.fromarray(image.pixels).resize((width, height), Pillow.Resampling.LANCZOS)
    return Image(np.asarray(picture), width, height, image.format)


def _cropped(image: Image, share: float, _max_pixels: int) -> Image:
    """The middle, `share` of each side."""
    width, height = (max(1, round(side * share)) for side in (image.width, image.height))
    return _window(image, (image.width - width) // 2, (image.height - height) // 2, width, height)


def _shifted(image: Image, pixels: float, _max_pixels: int) -> Image | None:
    """Without its first columns and rows, so that tiles and the blocks of a JPEG lie elsewhere."""
    cut = int(pixels)
    if min(image.width, image.height) <= cut:
        return None
    return _window(image, cut, cut, image.width - cut, image.height - cut)


def _thumbnail(image: Image, longest: float, max_pixels: int) -> Image | None:
    scale = longest / max(image.width, image.height)
    if scale >= 1:
        return None
    smaller = _resized(image, scale, max_pixels)
    return smaller and _encoded(smaller, "JPEG", THUMBNAIL_QUALITY, max_pixels)


def _window(image: Image, left: int, top: int, width: int, height: int) -> Image:
    pixels = np.ascontiguousarray(image.pixels[top : top + height, left : left + width])
    return Image(pixels, width, height, image.format)


def _encoded(image: Image, form: str, quality: float, max_pixels: int) -> Image | None:
    """Written and read again, the reading as a worker does it."""
    if max(image.width, image.height) > _LARGEST_SIDE[form]:
        return None
    buffer = BytesIO()
    Pillow.fromarray(image.pixels).save(buffer, form, quality=int(quality))
    return decode(buffer.getvalue(), max_pixels)


FAMILIES = (
    Family("jpeg", "Saved as JPEG", "quality", "{:g}", tuple(range(40, 100, 5)), 101, _jpeg),
    Family("webp", "Saved as WebP", "quality", "{:g}", (40, 55, 70, 80, 90), 101, _webp),
    Family("resize", "Resized", "scale", "×{:g}", (0.25, 0.35, 0.5, 0.7, 0.85, 1.2, 1.5, 2), 1, _resized),
    Family("crop", "Cropped to its middle", "share of each side", "{:.0%}", (0.5, 0.7, 0.8, 0.9, 0.95), 1, _cropped),
    Family("shift", "First rows and columns cut off", "pixels", "{:g} px", (1, 3, 5, 8, 13, 112), 0, _shifted),
    Family("thumbnail", "Thumbnail", "longest side", "{:g} px", (512, 800, 1200, 1600), float("inf"), _thumbnail),
)
"""Resizing is Lanczos's; JPEG has Pillow's subsampling, 4:2:0. 8 px is one block of a JPEG, 112 half a tile."""

ALTERATIONS = tuple(Alteration(family, setting) for family in FAMILIES for setting in family.settings)
