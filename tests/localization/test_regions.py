"""The parts of a map that look synthetic."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label, regionprops

from schema.scan import TILE, Tiling
from schema.verdict import UNKNOWN_GENERATOR, Polygon
from tests.support.scans import scan_of
from worker.localization.heatmap import Heatmap, heatmap, rasterize
from worker.localization.overlaps import overlap, region_overlap
from worker.localization.regions import MEDIAN_LONGEST, find_regions, outline
from worker.pipeline.measure import lay_tiles


def test_regions_are_bounding_boxes_in_pixels_strongest_first() -> None:
    grid = [[0.9, 0.05, 0.9, 0.02], [0.9, 0.04, 0.9, 0.9]]
    scan = scan_of([p for row in grid for p in row], width=896, height=448)
    strongest, other = find_regions(heatmap(scan), at=0.9)
    assert (strongest.x, strongest.y, strongest.width, strongest.height) == (672, 0, 224, 224)
    assert (other.x, other.y, other.width, other.height) == (224, 0, 224, 448)
    assert strongest.score > other.score


def test_a_region_extends_to_half_way_between_the_maps_median_and_its_maximum() -> None:
    """A rebuilt square of 448 pixels, scored by overlapping tiles: each by how much of it lies in the square."""
    corners, _ = lay_tiles(1120, 1120, Tiling(stride=112))
    square = (336, 336, 448, 448)
    shares = [
        max(0, min(x + TILE, 784) - max(x, 336)) * max(0, min(y + TILE, 784) - max(y, 336)) / TILE**2
        for x, y in corners.tolist()
    ]
    heat = heatmap(scan_of([1 - share for share in shares], width=1120, height=1120, stride=112))
    (region,) = find_regions(heat, at=0.9)
    assert region.score == 1.0
    assert region_overlap([region], square) == 1.0
    assert overlap(heat, square, at=0.9) < 0.4


def test_a_part_that_does_not_reach_the_threshold_is_no_region_however_the_rest_extends() -> None:
    grid = [0.9, 0.9, 0.9, 0.9, 0.9, 0.05, 0.3, 0.9, 0.4]
    (region,) = find_regions(heatmap(scan_of(grid, width=224 * len(grid), height=224)), at=0.9)
    assert (region.x, region.width) == (5 * 224, 2 * 224)


def test_an_image_that_is_synthetic_all_over_is_one_region() -> None:
    scan = scan_of([0.02, 0.04, 0.0, 0.08], width=448, height=448)
    (region,) = find_regions(heatmap(scan), at=0.9)
    assert (region.x, region.y, region.width, region.height) == (0, 0, 448, 448)


def test_a_region_has_its_mean_score_its_share_of_the_image_and_its_outline() -> None:
    grid = [[0.01, 0.99, 0.99], [0.05, 0.09, 0.99], [0.99, 0.99, 0.99]]
    (region,) = find_regions(heatmap(scan_of([p for row in grid for p in row], width=672, height=672)), at=0.9)
    assert region.mean_score == pytest.approx(1 - (0.01 + 0.05 + 0.09) / 3, abs=1e-3)
    assert region.area == pytest.approx(3 / 9, abs=1e-6)
    assert region.polygon == (((0, 0), (224, 0), (224, 224), (448, 224), (448, 448), (0, 448), (0, 0)),)


def test_a_regions_mean_counts_every_pixel_once_however_many_tiles_cover_it() -> None:
    scan = scan_of([0.0, 0.1], width=300, height=224)  # cells of 76, 148 and 76 pixels
    (region,) = find_regions(heatmap(scan), at=0.9)
    assert region.mean_score == pytest.approx((76 * 1 + 148 * 0.95 + 76 * 0.9) / 300, abs=1e-3)
    assert region.area == 1.0


def test_a_regions_generator_is_the_leading_class_of_its_own_cells() -> None:
    scan = scan_of([0.0, 0.99, 0.0, 0.0])
    scan.probabilities.setflags(write=True)
    scan.probabilities[0] = [0.0, 0.1, 0.9]
    scan.probabilities[2:] = [0.0, 0.45, 0.55]
    heat = heatmap(scan)
    assert {region.x: region.generator for region in find_regions(heat, 0.9)} == {0: "beta", 448: "beta"}
    strict = {region.x: region.generator for region in find_regions(heat, 0.9, generator_share=0.8)}
    assert strict == {0: "beta", 448: UNKNOWN_GENERATOR}


def boxes_on_the_picture(heat: Heatmap, at: float) -> list[tuple[int, int, int, int, float]]:
    """The regions by their definition, from the pixels of the map's picture: x, y, width, height, score."""
    median = np.nanmedian(rasterize(heat, MEDIAN_LONGEST))
    strong = heat.scores >= min(at, (float(median) + float(np.nanmax(heat.scores))) / 2)
    boxes = []
    for part in regionprops(label(strong, connectivity=1), intensity_image=heat.scores):
        top, left, bottom, right = part.bbox
        x, y = heat.x_edges[left], heat.y_edges[top]
        if part.intensity_max >= at:
            size = heat.x_edges[right] - x, heat.y_edges[bottom] - y
            boxes.append((int(x), int(y), int(size[0]), int(size[1]), round(float(part.intensity_max), 4)))
    return boxes


@settings(deadline=None)
@given(st.integers(224, 1500), st.integers(224, 1500), st.sampled_from([56, 112, 150, 224]), st.integers(0, 2**32))
def test_regions_are_those_of_the_maps_picture(width: int, height: int, stride: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    stride = stride if width * height < 600_000 else 224
    tiles = len(lay_tiles(width, height, Tiling(stride=stride))[0])
    share = random.choice([0.0, 0.3, 0.9])
    scores = np.round(random.beta(0.5, 0.5, tiles), random.choice([1, 6]))
    authentic = [None if random.random() < share else float(score) for score in scores]
    heat = heatmap(scan_of(authentic, width=width, height=height, stride=stride))
    at = float(random.choice([0.5, 0.9, 0.99]))
    found = [(each.x, each.y, each.width, each.height, each.score) for each in find_regions(heat, at)]
    expected = boxes_on_the_picture(heat, at) if (heat.scores >= at).any() else []
    assert sorted(found) == sorted(expected)


def filled(polygon: Polygon, shape: tuple[int, int]) -> np.ndarray:
    """The pixels inside a polygon by the even-odd rule."""
    inside = np.zeros(shape, bool)
    for ring in polygon:
        for (x0, y0), (x1, y1) in pairwise(ring):
            if x0 == x1:  # a vertical edge flips everything to its right
                inside[min(y0, y1) : max(y0, y1), x0:] ^= True
    return inside


@settings(deadline=None)  # a busy machine
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**81 - 1))
def test_an_outline_encloses_exactly_its_cells_and_no_ring_meets_itself(rows: int, columns: int, bits: int) -> None:
    cells = np.array([bits >> i & 1 for i in range(rows * columns)], bool).reshape(rows, columns)
    parts = label(cells, connectivity=1)
    x_edges, y_edges = np.cumsum([5, *range(1, columns + 1)]), np.cumsum([3, *range(2, rows + 2)])
    for number in range(1, parts.max() + 1):
        part = parts == number
        polygon = outline(part, x_edges, y_edges)
        expected = np.zeros((y_edges[-1] + 1, x_edges[-1] + 1), bool)
        for row, column in np.argwhere(part):
            expected[y_edges[row] : y_edges[row + 1], x_edges[column] : x_edges[column + 1]] = True
        np.testing.assert_array_equal(filled(polygon, expected.shape), expected)
        exterior, *holes = polygon
        assert all(filled((hole,), expected.shape)[~filled((exterior,), expected.shape)].sum() == 0 for hole in holes)
        for ring in polygon:
            assert ring[0] == ring[-1]
            assert len(set(ring[:-1])) == len(ring) - 1
            steps = [(b[0] != a[0], b[1] != a[1]) for a, b in pairwise(ring)]
            assert set(steps) <= {(True, False), (False, True)}
            assert all(one != other for one, other in pairwise(steps)), "a corner on a straight line"


def test_a_hole_whose_corner_touches_the_outside_is_a_ring_of_its_own() -> None:
    cells = np.array([[1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]], bool)
    edges = np.arange(5) * 10
    exterior, *holes = outline(cells, edges, edges)
    assert len(holes) == 2
    assert all(len(hole) == 5 for hole in holes)
    assert (0, 0) in exterior
