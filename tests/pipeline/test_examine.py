"""One image through the pipeline: what is measured, what is reused and what is drawn."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from uuid import uuid4

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schema.examination import Examination, StoredScan
from schema.scan import MAX_TILES, ModelIdentity, SelectionGrid, Tiling
from schema.states import Decision, Reason
from schema.verdict import verdict_document
from tests.support.scans import scan_of
from worker.localization.heatmap import heatmap
from worker.localization.pictures import map_png
from worker.pipeline.examine import Examiner, content_digest
from worker.pipeline.measure import lay_tiles, map_tiles
from worker.policy.policy import Policy


class Redness:
    """Calls a tile synthetic by its mean red, and counts what it was asked."""

    identity = ModelIdentity("redness", "e" * 64, ("authentic", "red"))

    def __init__(self) -> None:
        self.scored = 0

    def score(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.scored += len(tiles)
        red = np.array([tile[..., 0].mean() / 255 for tile in tiles], np.float32).reshape(-1, 1)
        return np.hstack([1 - red, red])


@pytest.fixture
def scorer() -> Redness:
    return Redness()


@pytest.fixture
def examiner(scorer: Redness) -> Examiner:
    return Examiner(scorer, Tiling(), max_pixels=10**7)


def policy(localize: str) -> Policy:
    return Policy(name="test", synthetic_at=0.9, authentic_below=0.3, minimum_contrast=0, localize=localize)


def replace_policy(of: Policy, **changes: float) -> Policy:
    return Policy.model_validate({**of.model_dump(), **changes})


def image(columns: int = 7, red: int = 0) -> bytes:
    """A row of noisy tiles without red, the last one as red as asked and without contrast."""
    pixels = np.random.default_rng(1).integers(0, 256, (224, 224 * columns, 3), np.uint8)
    pixels[..., 0] = 0
    pixels[:, -224:] = (red, 0, 0)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def found(examination: Examination, *, has_map: bool) -> StoredScan:
    return StoredScan(uuid4(), examination.scan, has_map)


def test_a_new_image_is_measured_and_its_map_drawn(examiner: Examiner, scorer: Redness) -> None:
    content = image()
    examination = examiner.examine(content, policy("never"))
    assert scorer.scored == 5
    assert examination.scan_id is None
    assert examination.scan.content_sha256 == content_digest(content)
    assert examination.map_png == map_png(heatmap(examination.scan))
    assert examination.map_grid is not None
    np.testing.assert_array_equal(examination.map_grid.scores, heatmap(examination.scan).scores)
    assert examination.verdict.decision is Decision.AUTHENTIC
    assert examination.policy == policy("never").document


def test_a_map_shows_the_region_that_the_selected_tiles_miss(examiner: Examiner, scorer: Redness) -> None:
    examination = examiner.examine(image(red=255), policy("always"))
    assert scorer.scored == 7
    assert examination.verdict.reasons == (Reason.SYNTHETIC_REGION,)
    [region] = examination.verdict.regions
    assert (region.x, region.y, region.width, region.height, region.score) == (6 * 224, 0, 224, 224, 1.0)
    assert (region.mean_score, region.area) == (1.0, pytest.approx(1 / 7, abs=1e-6))
    assert region.polygon == (((1344, 0), (1568, 0), (1568, 224), (1344, 224), (1344, 0)),)


@pytest.mark.parametrize("has_map", [True, False])
def test_a_stored_scan_is_reused_without_decoding_or_scoring(
    examiner: Examiner, scorer: Redness, has_map: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = examiner.examine(image(), policy("never"))
    stored = found(first, has_map=has_map)
    monkeypatch.setattr("worker.pipeline.examine.with_decoded", None)
    again = examiner.examine(image(), policy("never"), stored=stored)
    assert scorer.scored == 5
    assert again.scan_id == stored.id
    assert again.verdict == first.verdict
    assert again.map_png == (None if has_map else first.map_png)
    assert (again.map_grid is None) == has_map


def test_a_stored_scan_that_lacks_tiles_is_completed_and_written_again(examiner: Examiner, scorer: Redness) -> None:
    first = examiner.examine(image(), policy("never"))
    again = examiner.examine(image(), policy("always"), stored=found(first, has_map=True))
    assert scorer.scored == 7
    assert again.scan.complete
    assert again.scan_id is None
    assert again.map_png == map_png(heatmap(again.scan)) != first.map_png


def test_without_use_for_a_map_none_is_drawn(scorer: Redness) -> None:
    examiner = Examiner(scorer, Tiling(), max_pixels=10**7, renders_maps=False)
    assert examiner.examine(image(), policy("always")).map_png is None


def mosaic(columns: int, rows: int) -> bytes:
    """Noisy tiles that are the redder the farther right they are."""
    pixels = np.random.default_rng(2).integers(0, 256, (224 * rows, 224 * columns, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, 224 * columns).astype(np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def test_the_map_of_an_image_with_too_many_tiles_is_sampled_and_says_so(scorer: Redness) -> None:
    limited = Examiner(scorer, Tiling(), max_pixels=10**7, max_tiles=30)
    examination = limited.examine(mosaic(12, 8), policy("always"))
    scan = examination.scan
    assert scan.map_sampled
    assert verdict_document(scan, examination.verdict)["map_sampled"] is True
    assert len(scan.corners) == 96
    columns, rows = (
        np.isin(scan.corners[:, axis], [0, 672, 1344, 2016, last]) for axis, last in ((0, 2464), (1, 1568))
    )
    np.testing.assert_array_equal(scan.scored, scan.selected | (columns & rows))
    assert scorer.scored == scan.scored.sum() == 25
    heat = heatmap(scan)
    assert np.isfinite(heat.scores).all()
    assert examination.map_png == map_png(heat)

    whole = Examiner(Redness(), Tiling(), max_pixels=10**7).examine(mosaic(12, 8), policy("always"))
    assert not whole.scan.map_sampled
    assert verdict_document(whole.scan, whole.verdict)["map_sampled"] is False
    assert whole.scan.scored.all()
    np.testing.assert_array_equal(scan.selected, whole.scan.selected)
    assert examination.verdict.score == whole.verdict.score


def test_a_sampled_scan_is_reused(scorer: Redness) -> None:
    limited = Examiner(scorer, Tiling(), max_pixels=10**7, max_tiles=30)
    first = limited.examine(mosaic(12, 8), policy("always"))
    scored = scorer.scored
    stored = found(first, has_map=True)
    again = limited.examine(mosaic(12, 8), policy("always"), stored=stored)
    assert (scorer.scored, again.scan_id) == (scored, stored.id)
    assert again.verdict == first.verdict


@given(
    st.integers(224, 9000),
    st.integers(224, 9000),
    st.sampled_from([56, 100, 150, 224]),
    st.sampled_from(SelectionGrid),
    st.integers(16, 700),
)
def test_a_maps_tiles_are_within_the_limit_and_reach_every_edge(
    width: int, height: int, stride: int, mode: SelectionGrid, limit: int
) -> None:
    corners, candidates = lay_tiles(width, height, Tiling(mode, stride))
    selected = np.zeros(len(corners), np.bool_)
    selected[candidates[:5]] = True
    scan = replace(scan_of([], width=1, height=1), corners=corners, selected=selected, width=width, height=height)
    chosen = map_tiles(replace(scan, tiling=Tiling(mode, stride)), limit)
    assert chosen[selected].all()
    if len(corners) <= limit:
        assert chosen.all()
    else:
        assert chosen.sum() <= limit
        assert {(0, 0), (width - 224, height - 224)} <= {(int(x), int(y)) for x, y in corners[chosen]}


@pytest.mark.parametrize(
    ("width", "height"), [(4000, 3000), (4032, 3024), (5184, 3456), (6000, 4000), (6000, 4500), (6240, 4160)]
)
def test_the_map_of_an_ordinary_photograph_is_complete_by_default(width: int, height: int) -> None:
    assert len(lay_tiles(width, height, Tiling())[0]) <= MAX_TILES


@pytest.mark.parametrize("localize", ["always", "suspicious"])
def test_an_image_out_of_scope_gets_no_map(examiner: Examiner, scorer: Redness, localize: str) -> None:
    """35 bytes that stand for a white image of 9 megapixels: 196 tiles."""
    gif = b"GIF89a" + struct.pack("<HHBBB", 3000, 3000, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2L\1\0;"
    assert len(gif) <= 35
    examination = examiner.examine(gif, replace_policy(policy(localize), minimum_contrast=10.0))
    assert examination.verdict.reasons == (Reason.LOW_CONTRAST,)
    assert examination.verdict.score == 1.0
    assert examination.verdict.regions == ()
    assert examination.map_png is None
    assert scorer.scored == 5
    too_few = examiner.examine(image(columns=2), replace_policy(policy(localize), minimum_tiles=5))
    assert too_few.verdict.reasons == (Reason.TOO_FEW_TILES,)
    assert too_few.map_png is None


def test_a_stored_scan_of_an_image_out_of_scope_is_not_completed(examiner: Examiner, scorer: Redness) -> None:
    first = examiner.examine(image(), policy("never"))
    stored = found(first, has_map=False)
    again = examiner.examine(image(), replace_policy(policy("always"), minimum_contrast=65025.0), stored=stored)
    assert (scorer.scored, again.scan_id, again.map_png) == (5, stored.id, None)
