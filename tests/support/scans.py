"""Scans made by hand, for tests of what is decided from them and of how they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from schema.scan import TILE, ModelIdentity, Scan, Tiling
from worker.pipeline.measure import lay_tiles

CLASSES = ("authentic", "alpha", "beta")
MODEL = ModelIdentity("susy", "a" * 64, CLASSES)
CONTENT = "b" * 64


def scan_of(
    authentic: Sequence[float | None],
    *,
    width: int | None = None,
    height: int = 224,
    stride: int = 224,
    selected: Sequence[bool] | None = None,
    contrast: ArrayLike = 500.0,
    is_demo: bool = False,
    content: str = CONTENT,
) -> Scan:
    """A scan whose tiles have these p(authentic), in row-major order; None is not scored.

    `width` defaults to that of the tiles in a row, or to too little for a tile. The synthetic probability is split 3 to
    1 between the classes `alpha` and `beta`. The arrays cannot be changed, so that tests can share a scan.
    """
    width = width or TILE * len(authentic) or TILE - 1
    tiling = Tiling(stride=stride)
    corners, _ = lay_tiles(width, height, tiling)
    assert len(corners) == len(authentic)
    scored = np.array([p is not None for p in authentic], np.bool_)
    p = np.array([np.nan if p is None else p for p in authentic], np.float64).reshape(-1, 1)
    scan = Scan(
        content_sha256=content,
        model=replace(MODEL, is_demo=is_demo),
        tiling=tiling,
        width=width,
        height=height,
        format="PNG",
        corners=corners,
        contrast=np.broadcast_to(np.asarray(contrast, np.float32), len(corners)).copy(),
        selected=scored if selected is None else np.array(selected, np.bool_),
        scored=scored,
        probabilities=np.hstack([p, 0.75 * (1 - p), 0.25 * (1 - p)]).astype(np.float16),
    )
    for array in (scan.corners, scan.contrast, scan.selected, scan.scored, scan.probabilities):
        array.setflags(write=False)
    return scan
