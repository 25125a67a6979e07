import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schema.scan import TILE
from tests.support.labelled import TINTS, TintNetwork, tinted
from tests.support.released import random_susy, save_released, save_script
from worker.detector.detector import Detector
from worker.detector.model import SuSy
from worker.detector.prepare import PreparedSuSy, torch_threads
from worker.detector.release import RELEASE
from worker.detector.weights import save_weights
from worker.errors import ErrorCode, SetupError
from worker.lab.evaluation.scorer import Scorer, open_scorer, softmax
from worker.settings import load_settings

pytestmark = pytest.mark.usefixtures("forked_programs")


def save(path: Path, model: SuSy, classes: Sequence[str] = TINTS) -> Path:
    save_weights(path, model, name="tried", version="1", classes=classes, provenance={})
    return path


def as_input(tiles: list[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).float() / 255


def refusal(path: Path, classes: Sequence[str] | None = None) -> SetupError:
    with pytest.raises(SetupError) as caught:
        open_scorer(path, "cpu", classes)
    assert str(path) in caught.value.message or "--classes" in caught.value.message
    return caught.value


TILES = [tinted("green"), tinted("blue", corner=50), tinted("authentic", corner=100)]


def test_a_weights_file_is_scored_as_its_network_with_its_temperature(network: SuSy, tmp_path: Path) -> None:
    network.temperature = 2.5
    try:
        scorer = open_scorer(save(tmp_path / "own.safetensors", network), "cpu", precision="float32")
        with torch.inference_mode():
            expected, logits = network(as_input(TILES)).numpy(), network.logits(as_input(TILES)).numpy()
    finally:
        network.temperature = 1.0
    np.testing.assert_allclose(scorer.logits(TILES), logits, atol=1e-4)
    np.testing.assert_allclose(scorer.score(TILES), expected, atol=1e-5)
    assert (scorer.identity.name, scorer.classes, scorer.temperature) == ("tried", TINTS, 2.5)
    assert scorer.stores_temperature


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_the_scorer_of_a_weights_file_scores_as_a_worker_does(precision: str, network: SuSy, tmp_path: Path) -> None:
    path = save(tmp_path / "own.safetensors", network)
    with Detector(load_settings(weights=str(path), device="cpu", threads=1, precision=precision)) as detector:
        expected = detector.score(TILES)
        assert detector.identity == open_scorer(path, "cpu", precision=precision).identity
    np.testing.assert_allclose(open_scorer(path, "cpu", precision=precision).score(TILES), expected, atol=1e-6)


def test_each_thread_runs_whole_passes(network: SuSy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[str, int, int]] = []
    compute = PreparedSuSy.logits

    def logits(prepared: PreparedSuSy, tiles: Tensor) -> Tensor:
        passes.append((threading.current_thread().name, torch.get_num_threads(), len(tiles)))
        return compute(prepared, tiles)

    monkeypatch.setattr(PreparedSuSy, "logits", logits)
    path = save(tmp_path / "own.safetensors", network)
    with torch_threads(3):
        scorer = open_scorer(path, "cpu", batch=2)
    tiles = [tinted("green", corner=corner) for corner in range(8)]
    with torch.inference_mode():
        expected = network.logits(as_input(tiles)).numpy()
    np.testing.assert_allclose(scorer.logits(tiles), expected, atol=1e-4)
    assert sorted(count for _, _, count in passes) == [1, 1, 2, 2, 2]
    assert all(name.startswith("network") and threads == 1 for name, threads, _ in passes)


def test_the_released_program_is_recognized_and_has_its_six_class_names(tmp_path: Path) -> None:
    network = save_released(tmp_path / "SuSy.pt")
    scorer = open_scorer(tmp_path / "SuSy.pt", "cpu")
    with torch.inference_mode():
        expected = network(as_input(TILES)).numpy()
    assert scorer.classes == RELEASE.classes
    np.testing.assert_allclose(scorer.score(TILES), expected, atol=1e-5)
    assert not scorer.stores_temperature


def test_the_logits_of_a_program_are_its_logarithms(tint: Scorer) -> None:
    with torch.inference_mode():
        expected = TintNetwork()(as_input(TILES)).log().numpy()
    np.testing.assert_allclose(tint.logits(TILES), expected, atol=1e-4)


def test_another_program_needs_its_class_names(tmp_path: Path) -> None:
    path = save_script(tmp_path / "tint.pt", TintNetwork())
    error = refusal(path)
    assert error.code is ErrorCode.SETTINGS
    assert "name its 3 classes" in error.message
    assert "--classes authentic" in error.message


def test_as_many_class_names_as_classes_are_needed(tmp_path: Path) -> None:
    path = save_script(tmp_path / "tint.pt", TintNetwork())
    assert "names 2 classes" in refusal(path, ["authentic", "green"]).message


def test_class_names_that_differ_from_those_in_a_weights_file_are_refused(network: SuSy, tmp_path: Path) -> None:
    path = save(tmp_path / "own.safetensors", network)
    assert "leave out --classes" in refusal(path, ["authentic", "red", "blue"]).message
    assert open_scorer(path, "cpu", list(TINTS)).classes == TINTS


class Means(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * x.mean(dim=(2, 3))


class Single(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x.mean(dim=(2, 3)).view(1, 3), dim=1)


@pytest.mark.parametrize(
    ("network", "words"), [(Means(), "does not answer with probabilities"), (Single(), "fails on 2 tiles")]
)
def test_a_program_without_probabilities_is_refused(network: nn.Module, words: str, tmp_path: Path) -> None:
    error = refusal(save_script(tmp_path / "other.pt", network), TINTS)
    assert error.code is ErrorCode.WEIGHTS_INVALID
    assert words in error.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.safetensors").code is ErrorCode.WEIGHTS_INVALID
    assert refusal(tmp_path / "none.pt").code is ErrorCode.WEIGHTS_INVALID


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_asked_for_and_absent_is_an_error(tmp_path: Path) -> None:
    path = save_script(tmp_path / "tint.pt", TintNetwork())
    with pytest.raises(SetupError, match="CUDA device"):
        open_scorer(path, "cuda", TINTS)


def test_many_tiles_are_scored_in_batches_and_returned_in_order(tint: Scorer) -> None:
    seen: list[int] = []

    def network(tiles: Tensor) -> Tensor:
        seen.append(len(tiles))
        return tint.network(tiles)

    tiles = [np.full((TILE, TILE, 3), level, np.uint8) * np.array([1, 1, 0], np.uint8) for level in range(40)]
    answers = replace(tint, network=network).logits(tiles)
    assert seen == [16, 16, 8]
    np.testing.assert_allclose(answers, np.concatenate([tint.logits([tile]) for tile in tiles]), atol=1e-5)


def test_an_answer_that_is_not_a_number_is_refused(tint: Scorer) -> None:
    broken = replace(tint, network=lambda tiles: tint.network(tiles) * torch.nan)
    with pytest.raises(SetupError, match="NaN"):
        broken.logits(TILES)


def test_no_tiles_have_no_logits(tint: Scorer) -> None:
    assert tint.logits([]).shape == (0, 3)


def test_softmax_survives_large_logits() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 0, -1e4]], np.float32)), [[1, 0, 0]])
    np.testing.assert_allclose(softmax(np.array([[2.0, 0.0]], np.float32), 2.0)[0, 0], 1 / (1 + np.exp(-1)), rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_scores_as_the_cpu_does(tmp_path: Path) -> None:
    own = save(tmp_path / "own.safetensors", random_susy(3))
    program = save_script(tmp_path / "tint.pt", TintNetwork())
    for path, classes in ((own, None), (program, TINTS)):
        on_cpu, on_gpu = (
            open_scorer(path, device, classes, precision="float32").score(TILES) for device in ("cpu", "cuda")
        )
        np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-4)
