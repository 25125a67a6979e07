"""A scan: what one detector measured on one content, before any policy is applied."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

TILE = 224
"""Side of a tile in pixels: the size SuSy was trained on."""
MIN_STRIDE, MAX_STRIDE = 56, TILE
MAX_TILES = 600
"""Tiles of one image that are scored, by default: all of a photograph of up to 27 megapixels at the default stride."""


class SelectionGrid(StrEnum):
    """The tiles from which those of highest contrast are selected."""

    REFERENCE = "reference"
    """`W // 224` × `H // 224` tiles from the top left, as in the released example."""
    COVERAGE = "coverage"
    """Every pixel lies in a tile; the last row and column end at the edge."""


@dataclass(frozen=True)
class Tiling:
    """Which tiles an image has: those that may be selected, and those of the map."""

    mode: SelectionGrid = SelectionGrid.COVERAGE
    stride: int = TILE
    """Distance between the map's tiles in pixels, 56 to 224."""

    def __str__(self) -> str:
        return f"{self.mode}-{self.stride}"


class Precision(StrEnum):
    """The numbers that the network computes with. Scores of two precisions are two measurements."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True)
class ModelIdentity:
    """The detector that made a scan."""

    name: str
    sha256: str
    """Digest of the weights."""
    classes: tuple[str, ...]
    """Class names by index; index 0 is the authentic class."""
    is_demo: bool = False
    precision: Precision = Precision.FLOAT32


@dataclass(frozen=True)
class Signals:
    """What was measured of the file and its pixels beside the tiles: evidence about how far scores can be trusted."""

    animated: bool
    """Whether the file has more frames than the one that was examined."""
    jpeg_quality: int | None = None
    """Quality of the quantization table for luminance on libjpeg's scale, 1..100; None for other formats."""
    resampling: float | None = None
    """Strongest period of interpolation in the pixels, as a multiple of its surroundings; None for a small image."""
    palette_share: float | None = None
    """Share of the pixels that have one of the 16 most frequent colors, 0..1; None for a small image."""


@dataclass(frozen=True, eq=False)
class Scan:
    """One measurement of one content by one model in one precision under one tiling. T tiles, C classes."""

    content_sha256: str
    """Digest of the encoded bytes."""
    model: ModelIdentity
    tiling: Tiling
    width: int
    height: int
    """Size in pixels after EXIF orientation."""
    format: str
    """Format of the encoded bytes, as Pillow names it (`JPEG`, `PNG`, …)."""
    corners: NDArray[np.int32]
    """[T, 2]: top-left corner (x, y) of each tile in pixels."""
    contrast: NDArray[np.float32]
    """[T]: GLCM contrast of each tile, 0..65025."""
    selected: NDArray[np.bool_]
    """[T]: the tiles of highest contrast, from which the score is computed."""
    scored: NDArray[np.bool_]
    """[T]: whether the network scored the tile. Not scored is not the same as a score of zero."""
    probabilities: NDArray[np.float16]
    """[T, C]: class probabilities; NaN where not scored."""
    map_sampled: bool = False
    """Whether the image has more tiles than the limit, and of its map's tiles a coarser grid was scored."""
    signals: Signals | None = None
    """None in scans from before they were measured."""

    @property
    def complete(self) -> bool:
        """Whether every tile was scored."""
        return bool(self.scored.all())

    @property
    def synthetic(self) -> NDArray[np.float32]:
        """[T]: 1 − p(authentic) of each tile, 0..1; NaN where not scored."""
        return np.float32(1) - self.probabilities[:, 0].astype(np.float32)


@dataclass(frozen=True, eq=False)
class MapGrid:
    """A heat map as numbers, in cells: what the picture of the map shows."""

    x_edges: NDArray[np.int32]
    """[columns + 1]: the cells' borders in pixels, ascending."""
    y_edges: NDArray[np.int32]
    """[rows + 1]."""
    scores: NDArray[np.float32]
    """[rows, columns], 0..1; NaN where nothing was scored."""
