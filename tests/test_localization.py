"""Maps: tile scores laid back onto the image."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.scan import TILE, Tiling
from schema.verdict import Region
from tests.support.scans import scan_of
from worker.localization import (
    MAP_LONGEST,
    find_regions,
    heatmap,
    map_png,
    overlap,
    overlay,
    rasterize,
    region_overlap,
)
from worker.pipeline.measure import lay_tiles


@settings(deadline=None)  # a busy machine
@given(st.integers(224, 700), st.integers(224, 700), st.sampled_from([56, 100, 112, 224]), st.randoms())
def test_every_pixel_has_the_mean_of_the_scored_tiles_over_it(width: int, height: int, stride: int, random) -> None:  # type: ignore[no-untyped-def]
    corners, _ = lay_tiles(width, height, Tiling(stride=stride))
    authentic = [random.choice([None, random.random()]) for _ in corners]
    scan = scan_of(authentic, width=width, height=height, stride=stride)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for (x, y), score, scored in zip(scan.corners, scan.synthetic, scan.scored, strict=True):
        if scored:
            total[y : y + TILE, x : x + TILE] += score
            count[y : y + TILE, x : x + TILE] += 1
    expected = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    np.testing.assert_allclose(rasterize(heatmap(scan), max(width, height)), expected, atol=1e-6)


def test_the_stored_map_shows_scores_as_gray_and_unscored_tiles_as_transparent() -> None:
    picture = PIL.Image.open(io.BytesIO(map_png(heatmap(scan_of([0.8, None, 0.0]))) or b""))
    assert picture.mode == "LA"
    assert picture.size == (MAP_LONGEST, round(MAP_LONGEST / 3))
    gray, alpha = np.asarray(picture)[80, [80, 256, 430]].T.tolist()
    assert alpha == [255, 0, 255]
    assert gray[0] == pytest.approx(255 * 0.2, abs=1)
    assert gray[2] == 255


@pytest.mark.parametrize(
    ("box", "expected"),
    [((224, 0, 224, 224), 1.0), ((224, 0, 112, 224), 0.5), ((112, 0, 224, 224), 1 / 3), ((0, 0, 224, 224), 0.0)],
)
def test_overlap_is_intersection_over_union(box: tuple[int, int, int, int], expected: float) -> None:
    heat = heatmap(scan_of([0.8, 0.1, None]))
    assert overlap(heat, box, 0.5) == pytest.approx(expected)


def test_an_image_without_tiles_has_no_map_and_a_plain_overlay() -> None:
    scan = scan_of([], width=100, height=80)
    pixels = np.full((80, 100, 3), 7, np.uint8)
    assert map_png(heatmap(scan)) is None
    assert (np.asarray(overlay(pixels, scan, ())) == pixels).all()


def test_the_overlay_reddens_synthetic_tiles_and_leaves_authentic_ones_clear() -> None:
    scan = scan_of([1.0, 0.0, None])
    pixels = np.full((224, 672, 3), 200, np.uint8)
    authentic, synthetic, unscored = np.asarray(overlay(pixels, scan, ()))[100, [100, 330, 560]].astype(int)
    assert authentic.tolist() == [200, 200, 200]
    assert synthetic[0] - synthetic[1] > 80
    assert 150 < unscored[0] == unscored[1] == unscored[2] < 200


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


@pytest.mark.parametrize(
    ("found", "expected"),
    [((0, 0, 10, 10), 1.0), ((5, 0, 10, 10), 50 / 150), ((10, 0, 10, 10), 0.0), ((30, 30, 5, 5), 0.0)],
)
def test_rectangles_overlap_by_their_common_area(found: tuple[int, int, int, int], expected: float) -> None:
    assert region_overlap([Region(*found, 0.9), Region(0, 0, 10, 10, 0.9)], (0, 0, 10, 10)) == pytest.approx(expected)
    assert region_overlap([], (0, 0, 10, 10)) == 0.0


@settings(deadline=None)  # a busy machine
@given(st.integers(224, 900), st.integers(224, 900), st.sampled_from([56, 112, 224]), st.randoms())
def test_of_a_sampled_map_a_cell_without_a_tile_has_the_score_of_the_nearest(width, height, stride, random) -> None:  # type: ignore[no-untyped-def]
    corners, _ = lay_tiles(width, height, Tiling(stride=stride))
    authentic = [random.choice([None, None, random.random()]) for _ in corners]
    authentic[0] = 0.5
    plain = scan_of(authentic, width=width, height=height, stride=stride)
    heat, filled = heatmap(plain), heatmap(replace(plain, map_sampled=True))
    np.testing.assert_array_equal(filled.scores[np.isfinite(heat.scores)], heat.scores[np.isfinite(heat.scores)])
    centres = plain.corners[plain.scored] + TILE / 2
    for row, column in np.argwhere(np.isnan(heat.scores)):
        x, y = heat.x_edges[column : column + 2].mean(), heat.y_edges[row : row + 2].mean()
        distances = np.hypot(centres[:, 0] - x, centres[:, 1] - y)
        nearest = plain.synthetic[plain.scored][np.isclose(distances, distances.min())]
        assert filled.scores[row, column] in nearest
