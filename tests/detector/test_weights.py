import copy
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.released import random_susy
from worker.detector.model import SuSy
from worker.detector.weights import (
    MAX_FILE_BYTES,
    WeightsInfo,
    _digest,
    build,
    load_weights,
    rewrite_weights,
    save_weights,
)
from worker.errors import ErrorCode, SetupError

CLASSES = ("authentic", "one", "two", "three", "four", "five")


def saved(path: Path, model: SuSy, dtype: torch.dtype = torch.float32, **provenance: object) -> WeightsInfo:
    return save_weights(path, model, name="tried", version="1", classes=CLASSES, provenance=provenance, dtype=dtype)


@pytest.fixture(scope="module")
def file(susy: SuSy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "susy.safetensors"
    saved(path, susy)
    return path


def rewritten(source: Path, target: Path, change: Callable[[dict[str, Tensor], dict[str, str]], object]) -> Path:
    """A copy of a weights file with something changed."""
    with safe_open(source, framework="pt") as opened:
        metadata = dict(opened.metadata())
    tensors = load_file(source)
    change(tensors, metadata)
    save_file(tensors, target, metadata)
    return target


def refusal(path: Path) -> str:
    with pytest.raises(SetupError) as caught:
        load_weights(path)
    assert caught.value.code == ErrorCode.WEIGHTS_INVALID
    assert str(path) in caught.value.message
    assert "\n" not in str(caught.value)
    return caught.value.message


def test_a_worker_under_another_user_may_read_what_was_written(file: Path, tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_bytes(b"")
    assert file.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_weights_come_back_bit_for_bit(file: Path, susy: SuSy) -> None:
    model, info = load_weights(file)
    assert not model.training
    assert (info.name, info.version, info.classes, info.parameters) == ("tried", "1", CLASSES, 12_145_974)
    for key, tensor in susy.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(model.state_dict()[key], tensor)


def test_half_precision_halves_the_file_and_loads_as_float32(
    file: Path, susy: SuSy, tmp_path: Path, tiles: Tensor, answers: Tensor
) -> None:
    half = tmp_path / "half.safetensors"
    info = saved(half, susy, torch.float16)
    model, loaded = load_weights(half)
    assert loaded == info
    assert info.sha256 != load_weights(file)[1].sha256
    assert half.stat().st_size < 0.51 * file.stat().st_size
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    with torch.inference_mode():
        assert (model(tiles) - answers).abs().max() < 5e-3


def test_the_digest_is_of_names_classes_and_values_alone(susy: SuSy, tmp_path: Path) -> None:
    here, there = saved(tmp_path / "a", susy, where="here"), saved(tmp_path / "b", susy, where="there")
    assert here.sha256 == there.sha256
    renamed = save_weights(
        tmp_path / "c", susy, name="tried", version="1", classes=CLASSES[::-1], provenance={"where": "here"}
    )
    assert renamed.sha256 != here.sha256


def test_the_temperature_comes_back_and_is_part_of_the_digest_when_it_is_not_one(susy: SuSy, tmp_path: Path) -> None:
    plain = saved(tmp_path / "plain", susy)
    warm = copy.deepcopy(susy)
    warm.temperature = 1.7
    info = saved(tmp_path / "warm", warm)
    model, loaded = load_weights(tmp_path / "warm")
    assert loaded == info
    assert model.temperature == info.temperature == 1.7
    assert info.sha256 != plain.sha256
    assert load_weights(tmp_path / "plain")[0].temperature == 1


def test_a_file_from_before_there_was_a_temperature_keeps_its_digest(file: Path, tmp_path: Path) -> None:
    old = rewritten(file, tmp_path / "old", lambda _, metadata: metadata.pop("temperature"))
    assert load_weights(old)[1] == load_weights(file)[1]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_neither_written_nor_read(
    temperature: float, file: Path, susy: SuSy, tmp_path: Path
) -> None:
    model = copy.deepcopy(susy)
    model.temperature = temperature
    with pytest.raises(SetupError, match="is not a finite number above 0"):
        saved(tmp_path / "written", model)
    assert list(tmp_path.iterdir()) == []

    def spoil(_: dict[str, Tensor], metadata: dict[str, str]) -> None:
        metadata["temperature"] = repr(temperature)

    assert "not a finite number above 0" in refusal(rewritten(file, tmp_path / "spoiled", spoil))


def test_another_temperature_is_noticed(file: Path, tmp_path: Path) -> None:
    def warm(_: dict[str, Tensor], metadata: dict[str, str]) -> None:
        metadata["temperature"] = "1.5"

    assert "was altered" in refusal(rewritten(file, tmp_path / "warmed", warm))


def test_a_value_that_overflows_half_precision_is_not_written(tmp_path: Path) -> None:
    model = random_susy(seed=1)
    model.bn1.running_var[0] = 1e6
    with pytest.raises(SetupError, match=r"bn1.running_var is not finite as torch.float16"):
        saved(tmp_path / "half", model, torch.float16)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_nothing(susy: SuSy, tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("is no folder")
    with pytest.raises(SetupError, match="cannot be written"):
        saved(tmp_path / "folder" / "susy", susy)
    (tmp_path / "taken").mkdir()
    with pytest.raises(SetupError, match="only a regular file is replaced"):
        saved(tmp_path / "taken", susy)
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "taken"}


def test_missing_weights_name_the_command_that_fetches_them(tmp_path: Path) -> None:
    assert "run `susy weights pull`" in refusal(tmp_path / "nothing")


@pytest.mark.parametrize("kept", [0, 4, 1000, 10_000_000, -1])
def test_truncated_weights_are_refused(kept: int, file: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.safetensors"
    short.write_bytes(file.read_bytes()[:kept])
    assert "is truncated or not a safetensors file" in refusal(short)


def test_the_released_file_itself_is_refused(released: Path) -> None:
    assert "not a safetensors file" in refusal(released)


def test_safetensors_of_somebody_else_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "other")
    assert "was not written by susy-worker" in refusal(tmp_path / "other")


def test_one_changed_number_is_noticed(file: Path, tmp_path: Path) -> None:
    def nudge(tensors: dict[str, Tensor], _: dict[str, str]) -> None:
        tensors["layer3.1.conv2.weight"].view(-1)[7] += 1e-4

    assert "was altered" in refusal(rewritten(file, tmp_path / "nudged", nudge))


def test_reordered_classes_are_noticed(file: Path, tmp_path: Path) -> None:
    def reorder(_: dict[str, Tensor], metadata: dict[str, str]) -> None:
        metadata["classes"] = json.dumps(CLASSES[::-1])

    assert "was altered" in refusal(rewritten(file, tmp_path / "reordered", reorder))


@pytest.mark.parametrize("key", ["name", "version", "classes", "sha256", "provenance"])
def test_missing_metadata_is_refused(key: str, file: Path, tmp_path: Path) -> None:
    damaged = rewritten(file, tmp_path / "damaged", lambda _, metadata: metadata.pop(key))
    assert "has damaged metadata" in refusal(damaged)


def test_fewer_classes_than_the_network_has_are_refused(susy: SuSy, tmp_path: Path) -> None:
    path = tmp_path / "five"
    save_weights(path, susy, name="tried", version="1", classes=CLASSES[:5], provenance={})
    assert "is of another network: fc3.weight has shape [6, 256], not [5, 256]" in refusal(path)


def test_weights_without_one_tensor_are_of_another_network(susy: SuSy, tmp_path: Path) -> None:
    tensors = dict(susy.state_dict())
    with pytest.raises(SetupError, match=r"20 tensors are unknown, the first bn1.num_batches_tracked"):
        build(tensors, 6, of="here")
    tensors = {key: value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    del tensors["f11.0.bias"]
    with pytest.raises(SetupError, match=r"1 tensors are missing, the first f11.0.bias"):
        build(tensors, 6, of="here")


def dtype_of(path: Path) -> torch.dtype:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("fc1.weight").dtype


def test_rewriting_keeps_whatever_is_not_given(susy: SuSy, tmp_path: Path) -> None:
    source, halved, again = (tmp_path / f"{name}.safetensors" for name in ("source", "halved", "again"))
    save_weights(source, susy, name="tried", version="7", classes=("a", "b", "c", "d", "e", "f"), provenance={"one": 1})
    rewrite_weights(source, halved, {"two": 2}, dtype=torch.float16)
    rewrite_weights(halved, again, {}, temperature=1.5)
    model, info = load_weights(again)
    assert (info.name, info.version, info.classes) == ("tried", "7", ("a", "b", "c", "d", "e", "f"))
    assert info.provenance == {"one": 1, "two": 2}
    assert (dtype_of(source), dtype_of(halved), dtype_of(again)) == (torch.float32, torch.float16, torch.float16)
    assert (load_weights(halved)[0].temperature, model.temperature) == (1.0, 1.5)


def with_digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    metadata["sha256"] = _digest(tensors, json.loads(metadata["classes"]), float(metadata["temperature"]))


def infinite(tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    tensors["fc1.bias"][0] = torch.inf
    with_digest(tensors, metadata)


def of_integers(tensors: dict[str, Tensor], _metadata: dict[str, str]) -> None:
    tensors["fc1.bias"] = torch.zeros(tensors["fc1.bias"].shape, dtype=torch.int64)


def metadata_of(**changed: str) -> Callable[[dict[str, Tensor], dict[str, str]], object]:
    return lambda _, metadata: metadata.update(changed)


NESTED = "[" * 100_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (infinite, "has values that are not finite, first in fc1.bias"),
        (of_integers, "has a tensor fc1.bias of type torch.int64"),
        (metadata_of(format="other"), "was not written by susy-worker"),
        (metadata_of(name="a\x1b[31m"), "has damaged metadata"),
        (metadata_of(version=""), "has damaged metadata"),
        (metadata_of(classes='["authentic"]'), "has damaged metadata"),
        (metadata_of(classes='["one", "one"]'), "has damaged metadata"),
        (metadata_of(classes='{"authentic": 1}'), "has damaged metadata"),
        (metadata_of(classes=json.dumps([str(n) for n in range(1001)])), "has damaged metadata"),
        (metadata_of(classes="[1, 2]"), "has damaged metadata"),
        (metadata_of(classes="no JSON"), "has damaged metadata"),
        (metadata_of(classes=NESTED), "has damaged metadata"),
        (metadata_of(provenance="[]"), "has damaged metadata"),
        (metadata_of(provenance=NESTED), "has damaged metadata"),
        (metadata_of(temperature="warm"), "has damaged metadata"),
        (metadata_of(temperature="1e999"), "has temperature inf"),
        (metadata_of(temperature="2"), "was altered"),
        (metadata_of(sha256="0" * 64), "was altered"),
    ],
)
def test_damaged_values_and_metadata_are_refused(
    change: Callable[[dict[str, Tensor], dict[str, str]], object], reason: str, file: Path, tmp_path: Path
) -> None:
    refused = refusal(rewritten(file, tmp_path / "damaged", change))
    assert reason in refused
    assert refused.isprintable()


@pytest.mark.timeout(20)
def test_what_is_not_a_regular_file_or_is_too_large_is_refused_without_reading_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "large").open("wb") as large:
        large.truncate(MAX_FILE_BYTES + 1)
    assert "it is a named pipe" in refusal(tmp_path / "pipe")
    assert "it is a folder" in refusal(tmp_path / "folder")
    assert "has more than 256,000,000 bytes" in refusal(tmp_path / "large")
    assert "cannot be read" in refusal(Path("/dev/zero"))
