"""Tile scores laid back onto the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.scan import TILE, Tiling
from tests.support.scans import scan_of
from worker.localization.heatmap import grid_document, heatmap, map_grid, rasterize
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


def test_a_cells_class_probabilities_are_the_mean_of_its_tiles_and_agree_with_its_score() -> None:
    scan = scan_of([0.9, 0.2, None, 0.4], width=336, height=336, stride=112)
    heat = heatmap(scan)
    np.testing.assert_allclose(1 - heat.probabilities[..., 0], heat.scores, atol=1e-6)
    tiles = scan.probabilities.astype(np.float64)
    np.testing.assert_allclose(heat.probabilities[0, 1], (tiles[0] + tiles[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(heat.probabilities[1, 1], (tiles[0] + tiles[1] + tiles[3]) / 3, atol=1e-6)
    assert heat.classes == scan.model.classes


def test_a_cell_under_one_tile_has_exactly_its_score() -> None:
    scan = scan_of(np.linspace(0, 1, 300).tolist())
    np.testing.assert_array_equal(heatmap(scan).scores[0], scan.synthetic)


def test_a_sampled_maps_filled_cells_have_the_distribution_of_the_tile_whose_score_they_have() -> None:
    heat = heatmap(replace(scan_of([0.9, None, None, 0.2], width=896), map_sampled=True))
    assert heat.sampled
    np.testing.assert_allclose(1 - heat.probabilities[..., 0], heat.scores, atol=1e-3)


def test_the_document_of_a_map_is_its_cells_with_null_where_nothing_was_scored() -> None:
    document = grid_document(heatmap(scan_of([0.25, None, 0.5, 1.0], width=448, height=300)))
    assert document == {
        "width": 448,
        "height": 300,
        "x_edges": [0, 224, 448],
        "y_edges": [0, 76, 224, 300],
        "scores": [[0.75, None], [0.625, 0.0], [0.5, 0.0]],
        "sampled": False,
    }


def test_an_image_without_tiles_has_no_cells() -> None:
    heat = heatmap(scan_of([], width=100, height=80))
    assert map_grid(heat) is None
    assert grid_document(heat)["scores"] == []
