from __future__ import annotations

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
from worker.lab.evaluation.stability import Judge, Look, Trace, Unreadable, open_network, trace_all
from worker.lab.evaluation.stability_alterations import ALTERATIONS
from worker.pipeline.examine import Examiner
from worker.policy.policy import Policy
from worker.settings import load_settings


class Brightness:
    """Knows an answer for every tile: the brighter it is, the more authentic."""

    identity = ModelIdentity("brightness", "e" * 64, ("authentic", "dark"))

    def __init__(self) -> None:
        self.scored = 0

    def score(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.scored += len(tiles)
        authentic = np.array([tile.mean() / 255 for tile in tiles], np.float32).reshape(-1, 1)
        return np.hstack([authentic, 1 - authentic])


def policy(**changes: object) -> Policy:
    return Policy.model_validate({"name": "test", "synthetic_at": 0.9, "authentic_below": 0.2, **changes})


def judge(**changes: object) -> Judge:
    return Judge(Brightness(), policy(**changes), Tiling(), max_bytes=10_000_000, max_pixels=10_000_000)


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
def test_an_image_is_judged_as_a_worker_judges_it(content: bytes, localize: str) -> None:
    judging = judge(localize=localize)
    verdict = Examiner(Brightness(), Tiling(), 10_000_000).examine(content, judging.policy).verdict
    assert judging.look(decode(content, 10_000_000)) == Look(verdict.score, verdict.decision)


def test_the_map_is_completed_only_where_it_can_change_the_decision() -> None:
    dark, hidden = judge(localize="always"), judge(localize="always")
    assert dark.look(decode(png(*[0] * 6), 10_000_000)).decision is Decision.SYNTHETIC
    assert hidden.look(decode(HIDDEN_REGION, 10_000_000)).decision is Decision.INCONCLUSIVE
    assert (dark.scorer.scored, hidden.scorer.scored) == (5, 6)  # type: ignore[attr-defined]


def test_a_trace_follows_an_image_through_every_alteration(tmp_path: Path) -> None:
    (tmp_path / "bright.png").write_bytes(png(220, 250))
    trace = judge().trace(tmp_path / "bright.png")
    by_name = dict(zip(map(str, ALTERATIONS), trace.altered, strict=True))
    assert trace.as_is.decision is Decision.AUTHENTIC
    assert by_name["jpeg 90"] == Look(pytest.approx(trace.as_is.score, abs=0.01), Decision.AUTHENTIC)
    assert by_name["resize ×0.5"] == Look(None, Decision.INCONCLUSIVE)  # 224×112
    assert by_name["thumbnail 512 px"] is None


def test_an_image_that_is_too_small_as_it_is_is_not_altered(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (223, 500)).save(tmp_path / "small.png")
    assert judge().trace(tmp_path / "small.png") == Trace(tmp_path / "small.png", Look(None, Decision.INCONCLUSIVE), ())


def test_what_cannot_be_read_is_named_and_the_rest_goes_on_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(220)[:-20])
    (tmp_path / "b.png").write_bytes(png(220))
    files = [tmp_path / name for name in ("a.png", "absent.png", "b.png")]
    broken, absent, whole = trace_all(files, judge(), at_once=2)
    assert isinstance(broken, Unreadable)
    assert isinstance(absent, Unreadable)
    assert isinstance(whole, Trace)
    assert (broken.path, broken.error.code) == (files[0], ErrorCode.TRUNCATED)
    assert (absent.path, absent.error.code) == (files[1], ErrorCode.NOT_FOUND)
    assert whole.path == files[2]


def test_a_fault_of_the_setup_ends_the_run(tmp_path: Path) -> None:
    class Unset(Brightness):
        def score(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
            raise ConfigurationError(ErrorCode.WEIGHTS_INVALID, "weights answered with NaN")

    (tmp_path / "a.png").write_bytes(png(220))
    judging = Judge(Unset(), policy(), Tiling(), 10_000_000, 10_000_000)
    with pytest.raises(SetupError, match="NaN"):
        list(trace_all([tmp_path / "a.png"], judging, at_once=1))


def test_the_limits_of_a_worker_hold_here_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(220))
    with pytest.raises(PermanentError) as caught:
        Judge(Brightness(), policy(), Tiling(), max_bytes=100, max_pixels=10_000_000).trace(tmp_path / "a.png")
    assert caught.value.code is ErrorCode.TOO_MANY_BYTES


def test_a_torchscript_program_is_judged_like_a_weights_file_of_the_same_network(tmp_path: Path) -> None:
    susy = save_released(tmp_path / "SuSy.pt")
    save_weights(tmp_path / "susy.safetensors", susy, name="susy", version="1", classes=RELEASE.classes, provenance={})
    looks = []
    for name in ("SuSy.pt", "susy.safetensors"):
        with open_network(load_settings(weights=str(tmp_path / name), device="cpu")) as network:
            looks.append(Judge(network, policy(), Tiling(), 10_000_000, 10_000_000).look(decode(png(30, 90), 10**7)))
    assert looks[0].score == pytest.approx(looks[1].score, abs=2e-3)  # float16 in a scan
    assert looks[0].score is not None
