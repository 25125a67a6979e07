"""Images per second: how the rate is taken, and that a candidate that answers differently is not timed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.naive import app
from bench.pipeline import photograph_like
from bench.throughput import TOLERANCE, Naive, measure, reference, require_equal, slope, write_images
from tests.support.released import random_susy, save_released


def test_verdicts_that_come_several_at_once_hardly_change_the_rate() -> None:
    even = [0.1 * number for number in range(28)]
    assert slope(even) == pytest.approx(10)
    clumps = [0.1 * (number - number % 4) for number in range(28)]
    assert (len(clumps) - 1) / (clumps[-1] - clumps[0]) == pytest.approx(11.25), "what two verdicts alone would give"
    assert slope(clumps) == pytest.approx(10, rel=0.02)


def test_too_few_images_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="23 images are too few"):
        measure(object(), [], [tmp_path] * 23, tmp_path / "log.txt")  # type: ignore[arg-type]


def test_a_stall_counts() -> None:
    stalled = [0.1 * number + (1.0 if number >= 14 else 0.0) for number in range(28)]
    assert slope(stalled) < 7.5


def test_images_are_the_same_in_each_run_and_those_of_the_warm_up_are_others(tmp_path: Path) -> None:
    small = [write_images(tmp_path, 1, 0.0, prefix, first)[0].read_bytes() for prefix, first in (("a", 0), ("b", 1000))]
    assert small == [photograph_like(640, 480, 0), photograph_like(640, 480, 1000)]
    assert small[0] != small[1]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_both_baselines_agree_and_one_that_scores_other_tiles_is_not_timed(tmp_path: Path) -> None:
    save_released(tmp_path / "SuSy.pt", random_susy())
    paths = [tmp_path / "0.jpg", tmp_path / "1.jpg"]
    for number, path in enumerate(paths):
        path.write_bytes(photograph_like(1280, 960, number))
    expected = reference(tmp_path / "SuSy.pt", paths)
    stronger = app.load(str(tmp_path / "SuSy.pt"), "stronger")

    def scores(contrast: Callable[[NDArray[np.uint8]], float]) -> dict[str, float]:
        found = {str(path): app.examine(str(path), stronger, contrast) for path in paths}
        return {path: float(1 - probabilities[:, 0].mean()) for path, probabilities in found.items()}

    require_equal(Naive.names["stronger"], scores(app.closed_form), expected)
    assert np.ptp(list(expected.values())) > 2 * TOLERANCE, "images differ by more than candidates may"
    with pytest.raises(SystemExit, match="the lowest gives other scores"):
        require_equal("the lowest", scores(lambda gray: -app.closed_form(gray)), expected)
    with pytest.raises(SystemExit, match="nothing gives other scores"):
        require_equal("nothing", {}, expected)
