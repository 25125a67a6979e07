"""Maps and regions compared with what is known."""

from __future__ import annotations

import pytest

from schema.verdict import Region
from tests.support.scans import scan_of
from worker.localization.heatmap import heatmap
from worker.localization.overlaps import overlap, region_overlap


@pytest.mark.parametrize(
    ("box", "expected"),
    [((224, 0, 224, 224), 1.0), ((224, 0, 112, 224), 0.5), ((112, 0, 224, 224), 1 / 3), ((0, 0, 224, 224), 0.0)],
)
def test_overlap_is_intersection_over_union(box: tuple[int, int, int, int], expected: float) -> None:
    heat = heatmap(scan_of([0.8, 0.1, None]))
    assert overlap(heat, box, 0.5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("found", "expected"),
    [((0, 0, 10, 10), 1.0), ((5, 0, 10, 10), 50 / 150), ((10, 0, 10, 10), 0.0), ((30, 30, 5, 5), 0.0)],
)
def test_rectangles_overlap_by_their_common_area(found: tuple[int, int, int, int], expected: float) -> None:
    assert region_overlap([Region(*found, 0.9), Region(0, 0, 10, 10, 0.9)], (0, 0, 10, 10)) == pytest.approx(expected)
    assert region_overlap([], (0, 0, 10, 10)) == 0.0
