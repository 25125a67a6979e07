"""Maps as pictures."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from schema.verdict import Region
from tests.support.scans import scan_of
from worker.localization.heatmap import heatmap, rasterize
from worker.localization.pictures import MAP_LONGEST, map_png, overlay


def test_the_stored_map_shows_scores_as_gray_and_unscored_tiles_as_transparent() -> None:
    picture = PIL.Image.open(io.BytesIO(map_png(heatmap(scan_of([0.8, None, 0.0]))) or b""))
    assert picture.mode == "LA"
    assert picture.size == (MAP_LONGEST, round(MAP_LONGEST / 3))
    gray, alpha = np.asarray(picture)[80, [80, 256, 430]].T.tolist()
    assert alpha == [255, 0, 255]
    assert gray[0] == pytest.approx(255 * 0.2, abs=1)
    assert gray[2] == 255


@pytest.mark.parametrize(("tiles", "width", "height"), [(3, 672, 224), (99, 2464, 2016), (2, 300, 224)])
def test_the_stored_map_is_the_map_in_pixels(tiles: int, width: int, height: int) -> None:
    scores: list[float | None] = np.random.default_rng(0).random(tiles).tolist()
    scores[tiles // 2] = None
    heat = heatmap(scan_of(scores, width=width, height=height))
    gray, alpha = np.asarray(PIL.Image.open(io.BytesIO(map_png(heat) or b""))).transpose(2, 0, 1)
    expected = rasterize(heat, MAP_LONGEST)
    assert (alpha == 255 * np.isfinite(expected)).all()
    assert (gray == np.round(255 * np.nan_to_num(expected))).all()


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


def test_the_overlay_follows_a_regions_outline_or_without_one_its_rectangle() -> None:
    """An L of three squares: its outline leaves the rectangle's fourth corner free."""
    scan = scan_of([1.0] * 4, width=448, height=448)
    pixels = np.full((448, 448, 3), 200, np.uint8)
    corner = (((0, 0), (224, 0), (224, 224), (448, 224), (448, 448), (0, 448), (0, 0)),)
    plain = Region(0, 0, 448, 448, 0.95)
    outlined = Region(0, 0, 448, 448, 0.95, polygon=corner)
    drawn = {region: np.asarray(overlay(pixels, scan, (region,))) for region in (plain, outlined)}
    red = [189, 0, 38]
    assert drawn[plain][100, 447].tolist() == drawn[plain][447, 100].tolist() == red
    assert drawn[outlined][100, 447].tolist() == [200, 200, 200]
    assert drawn[outlined][100, 224].tolist() == drawn[outlined][447, 100].tolist() == red
