"""Tiles of the bundled samples: real images, for what depends on the network's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schema.scan import TILE
from worker.demo import SAMPLES
from worker.detector.tiles import coverage_grid, cut
from worker.errors import SusyError
from worker.intake.decode import decode


def real_tiles() -> list[NDArray[np.uint8]]:
    """The tiles, one every 112 pixels, of each sample that can be decoded: uint8 [224, 224, 3] each, at least 500."""
    tiles: list[NDArray[np.uint8]] = []
    for path in sorted(SAMPLES.glob("*.[jp][pn]g")):
        try:
            pixels = decode(path.read_bytes(), 100_000_000).pixels
        except SusyError:
            continue
        tiles += cut(pixels, coverage_grid(pixels.shape[1], pixels.shape[0], TILE // 2))
    assert len(tiles) >= 500, len(tiles)
    return tiles
