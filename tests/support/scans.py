"""Scans made by hand, for tests of what is decided from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schema.scan import ModelIdentity, Scan, Tiling
from worker.pipeline.measure import lay_tiles

CLASSES = ("authentic", "alpha", "beta")


def scan_of(
    authentic: Sequence[float | None],
    *,
    width: int = 672,
    height: int = 224,
    stride: int = 224,
    selected: Sequence[bool] | None = None,
    contrast: float = 500.0,
    is_demo: bool = False,
) -> Scan:
    """A scan whose tiles have these p(authentic), in row-major order; None is not scored.

    The synthetic probability is split 3 to 1 between the classes `alpha` and `beta`.
    """
    tiling = Tiling(stride=stride)
    corners, _ = lay_tiles(width, height, tiling)
    assert len(corners) == len(authentic)
    scored = np.array([p is not None for p in authentic], np.bool_)
    p = np.array([np.nan if p is None else p for p in authentic], np.float64).reshape(-1, 1)
    return Scan(
        content_sha256="c" * 64,
        model=ModelIdentity("test", "d" * 64, CLASSES, is_demo),
        tiling=tiling,
        width=width,
        height=height,
        format="PNG",
        corners=corners,
        contrast=np.full(len(corners), contrast, np.float32),
        selected=scored if selected is None else np.array(selected, np.bool_),
        scored=scored,
        probabilities=np.hstack([p, 0.75 * (1 - p), 0.25 * (1 - p)]).astype(np.float16),
    )
