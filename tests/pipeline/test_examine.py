"""One image through the pipeline: what is measured, what is reused and what is drawn."""

from __future__ import annotations

import io
from uuid import uuid4

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from schema.examination import Examination, StoredScan
from schema.scan import ModelIdentity, Tiling
from schema.states import Decision, Reason
from worker.localization import heatmap, map_png
from worker.pipeline.examine import Examiner, content_digest
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
    assert examination.verdict.decision is Decision.AUTHENTIC
    assert examination.policy == policy("never").document


def test_a_map_shows_the_region_that_the_selected_tiles_miss(examiner: Examiner, scorer: Redness) -> None:
    examination = examiner.examine(image(red=255), policy("always"))
    assert scorer.scored == 7
    assert examination.verdict.reasons == (Reason.SYNTHETIC_REGION,)
    [region] = examination.verdict.regions
    assert (region.x, region.y, region.width, region.height, region.score) == (6 * 224, 0, 224, 224, 1.0)


@pytest.mark.parametrize("has_map", [True, False])
def test_a_stored_scan_is_reused_without_decoding_or_scoring(
    examiner: Examiner, scorer: Redness, has_map: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = examiner.examine(image(), policy("never"))
    stored = found(first, has_map=has_map)
    key = (content_digest(image()), Redness.identity.sha256, Tiling())
    monkeypatch.setattr("worker.pipeline.examine.with_decoded", None)
    again = examiner.examine(image(), policy("never"), lambda *asked: {key: stored}.get(asked))
    assert scorer.scored == 5
    assert again.scan_id == stored.id
    assert again.verdict == first.verdict
    assert again.map_png == (None if has_map else first.map_png)


def test_a_stored_scan_that_lacks_tiles_is_completed_and_written_again(examiner: Examiner, scorer: Redness) -> None:
    first = examiner.examine(image(), policy("never"))
    again = examiner.examine(image(), policy("always"), lambda *_: found(first, has_map=True))
    assert scorer.scored == 7
    assert again.scan.complete
    assert again.scan_id is None
    assert again.map_png == map_png(heatmap(again.scan)) != first.map_png


def test_without_use_for_a_map_none_is_drawn(scorer: Redness) -> None:
    examiner = Examiner(scorer, Tiling(), max_pixels=10**7, renders_maps=False)
    assert examiner.examine(image(), policy("always")).map_png is None
