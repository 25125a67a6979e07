"""What is done to a crop before it is encoded: nothing, classical filters, a network; and the encoding itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from tools.demo_weights.networks import Enlarger

SHRINK = 4
"""How far a picture is shrunk before a network rebuilds it, per side."""
SHRINK_FILTERS = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BOX)
"""All of them average over the source area (Pillow scales the kernel's support), so none aliases."""
ENLARGE_FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR)


def rebuild(crop: Image.Image, enlarger: Enlarger, random: np.random.Generator) -> Image.Image:
    """Shrink `crop` by `SHRINK` and let the network enlarge it back to the size it had.

    A 2× network is applied twice. The crop's sides must be multiples of `SHRINK`.
    """
    if crop.width % SHRINK or crop.height % SHRINK:
        raise ValueError(f"a crop of {crop.size} cannot be shrunk by {SHRINK} exactly")
    small = crop.resize((crop.width // SHRINK, crop.height // SHRINK), _pick(SHRINK_FILTERS, random))
    pixels = np.asarray(small)
    while pixels.shape[1] < crop.width:
        pixels = enlarger.enlarge(pixels)
    return Image.fromarray(pixels)


def rescale(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    """Shrink by 1.3 to 4 and enlarge again classically, sometimes sharpened: an authentic hard negative."""
    factor = random.uniform(1.3, 4)
    small = crop.resize((round(crop.width / factor), round(crop.height / factor)), _pick(SHRINK_FILTERS, random))
    large = small.resize(crop.size, _pick(ENLARGE_FILTERS, random))
    return sharpen(large, random) if random.random() < 0.3 else large


def blur_or_sharpen(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    """A mild Gaussian blur or an unsharp mask: an authentic hard negative."""
    if random.random() < 0.5:
        return crop.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 1.4)))
    return sharpen(crop, random)


def sharpen(crop: Image.Image, random: np.random.Generator) -> Image.Image:
    """Unsharp mask, radius 0.6 to 2 pixels, 50 to 180 percent."""
    mask = ImageFilter.UnsharpMask(random.uniform(0.6, 2), int(random.integers(50, 181)), threshold=0)
    return crop.filter(mask)


@dataclass(frozen=True)
class Encoding:
    """The last step every image of every class goes through, drawn from one distribution."""

    format: str
    quality: int = 0
    subsampling: str = ""

    @property
    def label(self) -> str:
        return " ".join(str(part) for part in (self.format, self.quality, self.subsampling) if part)

    def save(self, image: Image.Image, stem: Path) -> Path:
        """Write `image` beside `stem`, with the format's extension."""
        path = stem.with_name(f"{stem.name}.{self.format}")
        match self.format:
            case "jpg":
                image.save(path, quality=self.quality, subsampling=self.subsampling)
            case "webp":
                image.save(path, quality=self.quality)
            case _:
                image.save(path)
        return path


def draw_encoding(random: np.random.Generator) -> Encoding:
    """PNG (20 %), JPEG quality 80–97 with 4:4:4 or 4:2:0 (55 %), WebP quality 85–95 (25 %)."""
    kind = random.random()
    if kind < 0.2:
        return Encoding("png")
    if kind < 0.75:
        return Encoding("jpg", int(random.integers(80, 98)), "4:4:4" if random.random() < 0.5 else "4:2:0")
    return Encoding("webp", int(random.integers(85, 96)))


def _pick(filters: tuple[Image.Resampling, ...], random: np.random.Generator) -> Image.Resampling:
    return filters[int(random.integers(len(filters)))]
