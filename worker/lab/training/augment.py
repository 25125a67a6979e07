"""The augmentations of SuSy's model card, and two of this project (resizing and re-encoding).

| augmentation | probability | other |
|---|---|---|
| horizontal flip | 0.35 | |
| random brightness and contrast | 0.5 | brightness limit 0.2, contrast limit 0.2 |
| random gamma | 0.5 | limits 80 to 120 percent |
| coarse dropout | 0.5 | 1 to 3 holes, sides 64 to 100 pixels of a 224-pixel tile, filled with 0 |

The card names the transforms of the library Albumentations; tests compare this module with it
(docs/decisions/0009-training.md). Tiles are uint8 [H, W, 3]; all randomness comes from the generator in the arguments.
Brightness, contrast and gamma map levels independently of their position, so that all three are one table of 256
levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schema.scan import TILE
from worker.lab.imaging import Pixels, reencode, resize, scaled_size
from worker.lab.training.recipe import AUGMENTATIONS

FLIP_PROBABILITY = 0.35
TONE_PROBABILITY = 0.5
BRIGHTNESS_LIMIT = CONTRAST_LIMIT = 0.2
GAMMA_PROBABILITY = 0.5
GAMMA_LIMITS = (80, 120)
"""In percent."""
DROPOUT_PROBABILITY = 0.5
HOLES = (1, 3)
HOLE_SIDE = (64, 100)
"""In pixels of a 224-pixel tile; smaller crops get proportionally smaller holes."""
LARGEST_FACTOR = 1.25
"""By which a patch is enlarged at most; it is shrunk down to the size of a crop."""
THERE_AND_BACK = (0.45, 0.9)
"""The factors by which a patch is shrunk before it is enlarged to its first size."""
RESIZE_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)

_LEVELS = np.arange(256, dtype=np.float64)
_UNCHANGED = np.arange(256, dtype=np.uint8)


def augment(tile: Pixels, random: np.random.Generator, which: Sequence[str] = AUGMENTATIONS) -> Pixels:
    """Apply the card's augmentations named in `which`, in the card's order, each with its probability."""
    if "flip" in which and random.random() < FLIP_PROBABILITY:
        tile = flip(tile)
    levels = _UNCHANGED
    if "tone" in which and random.random() < TONE_PROBABILITY:
        levels = tone_levels(
            brightness=random.uniform(-BRIGHTNESS_LIMIT, BRIGHTNESS_LIMIT),
            contrast=random.uniform(-CONTRAST_LIMIT, CONTRAST_LIMIT),
        )
    if "gamma" in which and random.random() < GAMMA_PROBABILITY:
        levels = gamma_levels(random.uniform(*GAMMA_LIMITS) / 100)[levels]
    if levels is not _UNCHANGED:
        tile = with_levels(tile, levels)
    if "holes" in which and random.random() < DROPOUT_PROBABILITY:
        tile = with_holes(tile, draw_holes(tile.shape[0], tile.shape[1], random))
    return tile


def flip(tile: Pixels) -> Pixels:
    """The tile mirrored left to right."""
    return np.take(tile, np.arange(tile.shape[1] - 1, -1, -1), axis=1)  # much faster to copy than a reversed view


def tone_levels(*, brightness: float, contrast: float) -> Pixels:
    """The new value of each level, uint8 [256]: level · (1 + contrast) + 255 · brightness, clipped."""
    return _rounded(_LEVELS * (1 + contrast) + 255 * brightness)


def gamma_levels(gamma: float) -> Pixels:
    """The new value of each level, uint8 [256]: 255 · (level / 255) ** gamma."""
    return _rounded(255 * (_LEVELS / 255) ** gamma)


def with_levels(tile: Pixels, levels: Pixels) -> Pixels:
    """The tile with each level replaced by its entry in `levels`, uint8 [256]."""
    # `bytes.translate` takes a quarter of the time of indexing an array.
    changed = tile.tobytes().translate(levels.tobytes())
    return np.frombuffer(changed, np.uint8).reshape(tile.shape)


def draw_holes(height: int, width: int, random: np.random.Generator) -> NDArray[np.int64]:
    """One to three rectangles inside a tile: int64 [holes, 4] of left, top, and exclusive right and bottom."""
    count = int(random.integers(HOLES[0], HOLES[1] + 1))
    h, w = (
        np.maximum(1, random.integers(HOLE_SIDE[0], HOLE_SIDE[1] + 1, count) * side // TILE) for side in (height, width)
    )
    y, x = random.integers(height - h + 1), random.integers(width - w + 1)
    return np.stack([x, y, x + w, y + h], axis=1)


def with_holes(tile: Pixels, holes: NDArray[np.int64]) -> Pixels:
    """A copy of the tile with the rectangles set to 0."""
    tile = tile.copy()
    for left, top, right, bottom in holes.tolist():
        tile[top:bottom, left:right] = 0
    return tile


def resize_again(patch: Pixels, smallest: int, random: np.random.Generator) -> Pixels:
    """The patch resized: either by a factor that leaves its sides at least `smallest` pixels, or shrunk and enlarged to
    its first size. Platforms shrink uploads, and users enlarge what they found."""
    resampling = RESIZE_FILTERS[int(random.integers(len(RESIZE_FILTERS)))]
    height, width = patch.shape[:2]
    if random.random() < 0.5:
        small = resize(patch, scaled_size(patch, random.uniform(*THERE_AND_BACK)), resampling)
        return resize(small, (width, height), resampling)
    lowest = smallest / min(height, width)
    factor = float(np.exp(random.uniform(np.log(lowest), np.log(LARGEST_FACTOR))))
    return resize(patch, (max(smallest, round(width * factor)), max(smallest, round(height * factor))), resampling)


def encode_again(tile: Pixels, random: np.random.Generator, quality: tuple[int, int] = (75, 97)) -> Pixels:
    """The tile re-encoded as JPEG (`quality` from and to, 4:4:4 or 4:2:0) or WebP (quality 80–95), and decoded.

    Platforms re-encode uploads; a detector must not depend on how its training images were stored.
    """
    if random.random() < 0.7:
        subsampling = "4:4:4" if random.random() < 0.5 else "4:2:0"
        encoded = reencode(tile, "JPEG", int(random.integers(quality[0], quality[1] + 1)), subsampling=subsampling)
    else:
        encoded = reencode(tile, "WEBP", int(random.integers(80, 96)), method=0)
    return tile if encoded is None else encoded


def _rounded(levels: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
