from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from schema.scan import ModelIdentity, Tiling
from schema.states import Decision
from tests.support.released import save_released
from worker.detector.release import RELEASE
from worker.detector.weights import save_weights
from worker.errors import ConfigurationError, ErrorCode, PermanentError, SetupError
from worker.intake.decode import decode
from worker.lab.evaluation.alterations import ALTERATIONS
from worker.lab.evaluation.stability import (
    ImageOutcomes,
    Outcome,
    Spread,
    Unreadable,
    examine_all,
    examine_altered,
    open_network,
    summarize,
    summary_document,
)
from worker.pipeline.examine import Examiner
from worker.policy.policy import Policy
from worker.settings import load_settings


class Brightness:
    """Scores tiles by their brightness: the brighter, the more authentic."""

    identity = ModelIdentity("brightness", "e" * 64, ("authentic", "dark"))

    def __init__(self) -> None:
        self.scored = 0

    def score(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.scored += len(tiles)
        authentic = np.array([tile.mean() / 255 for tile in tiles], np.float32).reshape(-1, 1)
        return np.hstack([authentic, 1 - authentic])


def policy(**changes: object) -> Policy:
    return Policy.model_validate({"name": "test", "synthetic_at": 0.9, "authentic_below": 0.2, **changes})


def examiner(scorer: Brightness | None = None, max_pixels: int = 10_000_000) -> Examiner:
    return Examiner(scorer or Brightness(), Tiling(), max_pixels)


def png(*levels: int) -> bytes:
    """Tiles side by side, each of one level, with stripes that weaken from left to right: the first are selected."""
    tiles = []
    for place, level in enumerate(levels):
        tile = np.full((224, 224, 3), level, np.int16)
        tile[:, ::10] += 20 - 2 * place
        tiles.append(np.clip(tile, 0, 255).astype(np.uint8))
    buffer = BytesIO()
    PIL.Image.fromarray(np.concatenate(tiles, axis=1)).save(buffer, "PNG")
    return buffer.getvalue()


HIDDEN_REGION = png(230, 230, 230, 230, 230, 0)


@pytest.mark.parametrize("localize", ["always", "suspicious", "never"])
@pytest.mark.parametrize(
    "content",
    [png(220), png(0, 0, 0, 0, 0, 0), png(100, 230, 120, 30, 60, 200, 90), HIDDEN_REGION],
    ids=["bright", "dark", "mixed", "hidden region"],
)
def test_score_and_decision_are_those_of_a_worker(content: bytes, localize: str) -> None:
    deciding = policy(localize=localize)
    expected = examiner().examine(content, deciding).verdict
    verdict = examiner().decide_image(decode(content, 10_000_000), deciding)
    assert (verdict.score, verdict.decision, verdict.reasons) == (expected.score, expected.decision, expected.reasons)


def test_the_map_is_completed_only_where_it_can_change_the_decision() -> None:
    scored = {}
    for name, content in (("dark", png(*[0] * 6)), ("hidden region", HIDDEN_REGION)):
        scorer = Brightness()
        verdict = examiner(scorer).decide_image(decode(content, 10_000_000), policy(localize="always"))
        scored[name] = (scorer.scored, verdict.decision)
    assert scored == {"dark": (5, Decision.SYNTHETIC), "hidden region": (6, Decision.INCONCLUSIVE)}


def test_an_image_is_examined_with_every_alteration() -> None:
    outcomes = examine_altered(Path("bright.png"), png(220, 250), examiner(), policy())
    by_name = dict(zip(map(str, ALTERATIONS), outcomes.altered, strict=True))
    assert outcomes.as_is.decision is Decision.AUTHENTIC
    assert by_name["jpeg 90"] == Outcome(pytest.approx(outcomes.as_is.score, abs=0.01), Decision.AUTHENTIC)
    assert by_name["resize ×0.5"] == Outcome(None, Decision.INCONCLUSIVE)  # 224×112
    assert by_name["thumbnail 512 px"] is None


def test_an_image_that_is_too_small_is_not_altered() -> None:
    buffer = BytesIO()
    PIL.Image.new("RGB", (223, 500)).save(buffer, "PNG")
    outcomes = examine_altered(Path("small.png"), buffer.getvalue(), examiner(), policy())
    assert outcomes == ImageOutcomes(Path("small.png"), Outcome(None, Decision.INCONCLUSIVE), ())


def test_unreadable_images_are_returned_with_their_error_and_the_others_in_order() -> None:
    contents = {Path("a.png"): png(220)[: len(png(220)) // 2], Path("b.png"): png(220), Path("c.png"): b""}
    broken, whole, empty = examine_all(contents, contents.__getitem__, examiner(), policy(), threads=2)
    assert isinstance(broken, Unreadable)
    assert isinstance(whole, ImageOutcomes)
    assert isinstance(empty, Unreadable)
    assert (broken.path, broken.error.code) == (Path("a.png"), ErrorCode.TRUNCATED)
    assert whole.path == Path("b.png")


def test_an_error_of_the_setup_ends_the_run() -> None:
    class Broken(Brightness):
        def score(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
            raise ConfigurationError(ErrorCode.WEIGHTS_INVALID, "weights answered with NaN")

    with pytest.raises(SetupError, match="NaN"):
        list(examine_all([Path("a.png")], lambda _: png(220), examiner(Broken()), policy(), threads=1))


def test_the_pixel_limit_of_a_worker_applies() -> None:
    with pytest.raises(PermanentError) as caught:
        examine_altered(Path("a.png"), png(220), examiner(max_pixels=224 * 223), policy())
    assert caught.value.code is ErrorCode.TOO_MANY_PIXELS


@pytest.mark.usefixtures("forked_programs")
def test_a_torchscript_program_is_examined_as_a_weights_file_of_the_same_network(tmp_path: Path) -> None:
    susy = save_released(tmp_path / "SuSy.pt")
    save_weights(tmp_path / "susy.safetensors", susy, name="susy", version="1", classes=RELEASE.classes, provenance={})
    scores = []
    for name in ("SuSy.pt", "susy.safetensors"):
        settings = load_settings(weights=str(tmp_path / name), device="cpu", threads=1, precision="float32")
        with open_network(settings) as network:
            image = decode(png(30, 90), 10_000_000)
            scores.append(Examiner(network, Tiling(), 10_000_000).decide_image(image, policy()).score)
    assert scores[0] == pytest.approx(scores[1], abs=2e-3)  # float16 in a scan
    assert scores[0] is not None


FIRST, SECOND = ALTERATIONS[:2]
AUTHENTIC, SYNTHETIC, INCONCLUSIVE = Decision.AUTHENTIC, Decision.SYNTHETIC, Decision.INCONCLUSIVE
TOO_SMALL = Outcome(None, INCONCLUSIVE)

IMAGES = [
    ImageOutcomes(Path("flips"), Outcome(0.1, AUTHENTIC), (Outcome(0.9, SYNTHETIC), Outcome(0.2, AUTHENTIC))),
    ImageOutcomes(Path("changes"), Outcome(0.8, SYNTHETIC), (Outcome(0.6, INCONCLUSIVE), Outcome(0.7, SYNTHETIC))),
    ImageOutcomes(Path("shrinks"), Outcome(0.5, INCONCLUSIVE), (Outcome(0.5, INCONCLUSIVE), TOO_SMALL)),
    ImageOutcomes(Path("large"), Outcome(0.3, AUTHENTIC), (Outcome(0.4, AUTHENTIC), None)),
    ImageOutcomes(Path("small"), TOO_SMALL, ()),
]


def test_moves_of_scores_and_flips_of_decisions_are_counted_by_alteration() -> None:
    first, second = summarize(IMAGES, 0, (FIRST, SECOND)).effects
    assert (first.applied, first.not_scored, first.compared) == (4, 0, 4)
    assert (first.flips, first.changes) == (1, 2)
    assert first.move is not None
    assert first.move.median == pytest.approx(0.05)  # of −0.2, 0, 0.1, 0.8
    assert (first.move.low, first.move.high) == (pytest.approx(-0.17), pytest.approx(0.695))
    assert first.distance == pytest.approx(0.15)
    assert (second.applied, second.not_scored, second.compared) == (3, 1, 2)
    assert (second.flips, second.changes) == (0, 0)


def test_an_image_too_small_after_an_alteration_changes_no_decision() -> None:
    synthetic = ImageOutcomes(Path("shrinks"), Outcome(0.9, SYNTHETIC), (TOO_SMALL,))
    summary = summarize([synthetic], 0, (FIRST,))
    assert (summary.changed, summary.effects[0].changes, summary.effects[0].not_scored) == (0, 0, 1)
    assert summary.effects[0].move is None


def test_images_are_counted_once_however_often_they_flip() -> None:
    twice = ImageOutcomes(Path("twice"), Outcome(0.1, AUTHENTIC), (Outcome(0.9, SYNTHETIC), Outcome(0.9, SYNTHETIC)))
    summary = summarize([*IMAGES, twice], 3, (FIRST, SECOND))
    assert (summary.images, summary.scored, summary.not_scored, summary.unreadable) == (6, 5, 1, 3)
    assert (summary.flipped, summary.changed) == (2, 3)
    assert summary.decisions == {"authentic": 3, "synthetic": 1, "inconclusive": 1}
    assert summary.farthest is not None
    assert summary.farthest.median == pytest.approx(0.2)  # of 0.8, 0.2, 0, 0.1, 0.8


def test_no_images_make_an_empty_summary() -> None:
    summary = summarize([], 2, (FIRST, SECOND))
    assert (summary.scored, summary.farthest) == (0, None)
    assert [effect.move for effect in summary.effects] == [None, None]
    assert json.loads(json.dumps(summary_document(summary)))["unreadable"] == 2


def test_the_document_has_the_figures_of_each_alteration() -> None:
    document = summary_document(summarize(IMAGES, 0, (FIRST, SECOND)))
    assert document["alterations"][0] == {
        "family": "jpeg", "setting": 40, "applied": 4, "not_scored": 0,
        "move": {"p5": -0.17, "median": 0.05, "p95": 0.695}, "distance": 0.15, "flips": 1, "changes": 2,
    }  # fmt: skip


def test_a_spread_is_the_range_of_nine_in_ten() -> None:
    images = [
        ImageOutcomes(Path("x"), Outcome(0.0, AUTHENTIC), (Outcome(step / 100, AUTHENTIC),)) for step in range(101)
    ]
    assert summarize(images, 0, (FIRST,)).effects[0].move == Spread(
        pytest.approx(0.05), pytest.approx(0.5), pytest.approx(0.95)
    )
