"""The augmentations of SuSy's model card, and one of our own (encoding once more).

| augmentation | probability | other |
|---|---|---|
| horizontal flip | 0.35 | |
| random brightness and contrast | 0.5 | brightness limit 0.2, contrast limit 0.2 |
| random gamma | 0.5 | limits 80 to 120 percent |
| coarse dropout | 0.5 | 1 to 3 holes, sides 64 to 100 pixels of a 224-pixel tile, filled with 0 |

The card names the transforms of the library Albumentations; the arithmetic here is that library's documented one.
Each function takes and returns uint8 [H, W, 3]; all randomness comes from the generator handed in.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schema.scan import TILE
from worker.training.recipe import AUGMENTATIONS

Pixels = NDArray[np.uint8]

FLIP_PROBABILITY = 0.35
TONE_PROBABILITY = 0.5
BRIGHTNESS_LIMIT = CONTRAST_LIMIT = 0.2
GAMMA_PROBABILITY = 0.5
GAMMA_LIMITS = (80, 120)
DROPOUT_PROBABILITY = 0.5
HOLES = (1, 3)
HOLE_SIDE = (64, 100)
"""In pixels of a 224-pixel tile; smaller crops get holes smaller in proportion."""

_LEVELS = np.arange(256, dtype=np.float64)


def augment(tile: Pixels, random: np.random.Generator, which: Sequence[str] = AUGMENTATIONS) -> Pixels:
    """The card's augmentations in the card's order, each with its probability; only those named in `which`."""
    if "flip" in which and random.random() < FLIP_PROBABILITY:
        tile = tile[:, ::-1]
    if "tone" in which and random.random() < TONE_PROBABILITY:
        tile = change_tone(
            tile,
            brightness=random.uniform(-BRIGHTNESS_LIMIT, BRIGHTNESS_LIMIT),
            contrast=random.uniform(-CONTRAST_LIMIT, CONTRAST_LIMIT),
        )
    if "gamma" in which and random.random() < GAMMA_PROBABILITY:
        tile = change_gamma(tile, random.uniform(*GAMMA_LIMITS) / 100)
    if "holes" in which and random.random() < DROPOUT_PROBABILITY:
        tile = drop_holes(tile, random)
    return tile


def change_tone(tile: Pixels, *, brightness: float, contrast: float) -> Pixels:
    """level · (1 + contrast) + 255 · brightness, clipped."""
    return _mapped(tile, _LEVELS * (1 + contrast) + 255 * brightness)


def change_gamma(tile: Pixels, gamma: float) -> Pixels:
    """255 · (level / 255) ** gamma."""
    return _mapped(tile, 255 * (_LEVELS / 255) ** gamma)


def drop_holes(tile: Pixels, random: np.random.Generator) -> Pixels:
    """A copy with one to three rectangles inside the tile set to 0."""
    tile = tile.copy()
    height, width = tile.shape[:2]
    for _ in range(int(random.integers(HOLES[0], HOLES[1] + 1))):
        h, w = (max(1, int(random.integers(HOLE_SIDE[0], HOLE_SIDE[1] + 1)) * side // TILE) for side in (height, width))
        y, x = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
        tile[y : y + h, x : x + w] = 0
    return tile


def encode_again(tile: Pixels, random: np.random.Generator) -> Pixels:
    """The tile after one more JPEG (quality 75–97, 4:4:4 or 4:2:0) or WebP (quality 80–95).

    Platforms re-encode what is uploaded; a detector must not lean on how its training images were stored.
    """
    buffer = io.BytesIO()
    if random.random() < 0.7:
        subsampling = "4:4:4" if random.random() < 0.5 else "4:2:0"
        Image.fromarray(tile).save(buffer, "JPEG", quality=int(random.integers(75, 98)), subsampling=subsampling)
    else:
        Image.fromarray(tile).save(buffer, "WEBP", quality=int(random.integers(80, 96)), method=0)
    with Image.open(buffer) as decoded:
        return np.asarray(decoded.convert("RGB"))


def _mapped(tile: Pixels, levels: NDArray[np.float64]) -> Pixels:
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return table[tile]
