"""Small files that are made to cost much: each ends soon, as it should, and none costs more than its limits allow."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from schema.scan import ModelIdentity, Tiling
from tests.support.checkout import DOCS
from tests.support.hostile import FULL_SIDE, HOSTILE, Hostile
from worker.detector.contrast import SELECTED_TILES
from worker.errors import PermanentError
from worker.pipeline.examine import Examiner
from worker.policy.policy import default_policy

SIDE = 1400
"""Pixels; a fiftieth of the pixels that the benchmark uses."""
MAX_TILES = 25
CPU_SECONDS = 6.0
"""Far above what any of these takes, far below what it takes to do what they ask for."""


class Suspicious:
    """Calls every tile synthetic, so that a map is asked for; counts tiles."""

    identity = ModelIdentity("suspicious", "e" * 64, ("authentic", "other"))

    def __init__(self) -> None:
        self.scored = 0

    def score(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.scored += len(tiles)
        return np.tile(np.array([0, 1], np.float32), (len(tiles), 1))


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_a_hostile_file_ends_soon_and_as_it_should(hostile: Hostile) -> None:
    content = hostile.make(SIDE)
    scorer = Suspicious()
    examiner = Examiner(scorer, Tiling(), max_pixels=100_000_000, max_tiles=MAX_TILES)
    begun = time.thread_time()
    if hostile.code is None:
        examination = examiner.examine(content, default_policy())
        scan = examination.scan
        assert scan.map_sampled == (not scan.complete and scorer.scored > SELECTED_TILES)
    else:
        with pytest.raises(PermanentError) as refused:
            examiner.examine(content, default_policy())
        assert refused.value.code is hostile.code
        assert examiner.memory.used == scorer.scored == 0
    assert time.thread_time() - begun < CPU_SECONDS
    assert scorer.scored <= MAX_TILES


def test_the_published_table_has_every_file() -> None:
    page = (DOCS / "hostile-files.md").read_text()
    for hostile in HOSTILE:
        assert f"| {hostile.name} | " in page, "run `python -m bench.hostile`"


def test_the_benchmark_stays_within_the_default_limit_of_pixels() -> None:
    assert FULL_SIDE * FULL_SIDE <= 100_000_000
