"""Which tiles an image has, and which of them may be selected."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schema.scan import TILE, SelectionGrid, Tiling
from worker.pipeline.measure import lay_tiles


@given(st.integers(1, 1500), st.integers(1, 1500), st.sampled_from(SelectionGrid), st.integers(56, 224))
def test_candidates_lie_among_the_tiles_row_by_row(width: int, height: int, mode: SelectionGrid, stride: int) -> None:
    corners, candidates = lay_tiles(width, height, Tiling(mode, stride))
    assert len(np.unique(corners, axis=0)) == len(corners)
    order = corners[:, 1].astype(np.int64) * width + corners[:, 0]
    assert (np.diff(order) > 0).all()
    chosen = corners[candidates]
    if mode is SelectionGrid.REFERENCE:
        assert len(chosen) == (width // TILE) * (height // TILE)
        assert (chosen % TILE == 0).all()
    else:
        assert len(chosen) == (-(-width // TILE) * -(-height // TILE) if min(width, height) >= TILE else 0)
