import hashlib
import os
import pickle
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.support.few_tiles import compare_few_tiles
from tests.support.forks import ForkedProcess
from tests.support.released import Released, load_script, save_released, save_script
from worker.detector.model import SuSy
from worker.detector.parity import LARGEST_DIFFERENCE, LARGEST_LOGIT_DIFFERENCE, verify_golden
from worker.detector.release import RELEASE, import_release, own_tensors
from worker.detector.torchscript import IMPORT_LIMITS, Limits
from worker.detector.weights import count_parameters, load_weights
from worker.errors import ErrorCode, SetupError

UNUSED_CLASSIFIER = 512 * 1000 + 1000


@pytest.fixture(autouse=True)
def _no_process_remains(forked_programs: list[ForkedProcess]) -> Iterator[None]:
    yield
    assert [process for process in forked_programs if process.poll() is None] == []


@pytest.fixture
def few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    compare_few_tiles(monkeypatch)


def refusal(source: Path, tmp_path: Path, sha256: str | None = None, limits: Limits = IMPORT_LIMITS) -> str:
    target = tmp_path / "target.safetensors"
    with pytest.raises(SetupError) as caught:
        import_release(source, target, sha256=sha256, limits=limits)
    assert caught.value.code == ErrorCode.WEIGHTS_INVALID
    assert str(source) in caught.value.message
    assert "\n" not in str(caught.value)
    assert not target.exists()
    return caught.value.message


def test_the_stand_in_has_the_released_names_and_count(released: Path) -> None:
    state = load_script(released).state_dict()
    assert len(state) == 368
    assert sum(key.startswith("feature_extractor.resnet_model.fc.") for key in state) == 2
    assert sum(key.startswith(("feature_extractor.resnet_model.", "feature_extractor.stages.")) for key in state) == 242
    assert sum(key.startswith("mlp.") for key in state) == 6
    assert sum(parameter.numel() for parameter in load_script(released).parameters()) == 12_658_974


def test_our_network_is_the_released_one_without_its_unused_classifier(susy: SuSy) -> None:
    assert count_parameters(Released(susy)) == 12_658_974
    assert count_parameters(susy) == 12_145_974
    assert count_parameters(Released(susy)) - count_parameters(susy) == UNUSED_CLASSIFIER


def test_imported_weights_answer_as_the_released_file_does(
    released: Path, tmp_path: Path, tiles: Tensor, answers: Tensor
) -> None:
    target = tmp_path / "susy.safetensors"
    digest = hashlib.sha256(released.read_bytes()).hexdigest()
    info = import_release(released, target)
    model, loaded = load_weights(target)
    with torch.inference_mode():
        assert torch.equal(ours := model(tiles), answers)
        assert (ours - load_script(released)(tiles)).abs().max() <= LARGEST_DIFFERENCE
    assert loaded == info
    assert info.name == "susy"
    assert info.version == digest[:12]
    assert info.classes == RELEASE.classes
    assert info.parameters == 12_145_974
    assert not info.is_demo
    assert info.provenance["source"] == "SuSy.pt"
    assert info.provenance["source_sha256"] == digest
    assert info.provenance["source_sha256_expected"] is None  # imported unpinned, and the weights say so
    assert info.provenance["released_parameters"] == 12_658_974
    assert info.provenance["largest_difference"] <= LARGEST_DIFFERENCE
    assert info.provenance["largest_logit_difference"] <= LARGEST_LOGIT_DIFFERENCE
    differences = info.provenance["precision_differences"]
    assert differences["cpu/float32"] <= LARGEST_DIFFERENCE
    assert 0 < differences["cpu/bfloat16"] < 0.02
    assert info.provenance["left_out"] == [f"feature_extractor.resnet_model.fc.{kind}" for kind in ("bias", "weight")]


@pytest.mark.parametrize("dropped", ["feature_extractor.resnet_model.", "feature_extractor.stages."])
def test_either_of_the_two_names_of_a_shared_tensor_will_do(dropped: str, released: Path, susy: SuSy) -> None:
    state = load_script(released).state_dict()
    once = {key: tensor for key, tensor in state.items() if not key.startswith(dropped)}
    once = {key: tensor for key, tensor in once.items() if not key.startswith("feature_extractor.f")}
    own = own_tensors(once, of=released)
    expected = {key for key in susy.state_dict() if not key.endswith("num_batches_tracked")}
    assert own.keys() == expected
    assert all(torch.equal(own[key], susy.state_dict()[key]) for key in expected)


def test_two_names_of_one_tensor_that_disagree_are_refused(released: Path) -> None:
    state = load_script(released).state_dict()
    state["feature_extractor.stages.2.0.conv1.weight"] = torch.zeros(128, 64, 3, 3)
    with pytest.raises(SetupError, match=r"contradicts itself: .*stages\.2\.0\.conv1\.weight"):
        own_tensors(state, of=released)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nothing.pt", tmp_path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "it is a folder" in refusal(tmp_path / "folder", tmp_path)


@pytest.mark.parametrize("kept", [100, 1_000_000, -1])
def test_a_truncated_file_is_refused(kept: int, released: Path, tmp_path: Path) -> None:
    source = tmp_path / "short.pt"
    source.write_bytes(released.read_bytes()[:kept])
    assert "is truncated; fetch it again" in refusal(source, tmp_path)


def test_a_file_with_damaged_bytes_is_refused(released: Path, tmp_path: Path) -> None:
    damaged = bytearray(released.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    source = tmp_path / "damaged.pt"
    source.write_bytes(damaged)
    assert "is damaged: " in refusal(source, tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x89PNG\r\n\x1a\n"])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "other.pt"
    source.write_bytes(content)
    assert "is not a TorchScript file" in refusal(source, tmp_path)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.mark,)


def test_a_pickle_is_refused_and_never_opened(tmp_path: Path) -> None:
    mark = tmp_path / "was-opened"
    plain, checkpoint = tmp_path / "plain.pt", tmp_path / "checkpoint.pt"
    plain.write_bytes(pickle.dumps(Trap(mark)))
    torch.save({"weights": Trap(mark)}, checkpoint)
    assert "is not a TorchScript file" in refusal(plain, tmp_path)
    assert "is a pickled checkpoint, not a TorchScript file; it was not opened" in refusal(checkpoint, tmp_path)
    assert not mark.exists()


def test_another_hash_is_refused_with_both_before_anything_is_run(tmp_path: Path) -> None:
    source = tmp_path / "unknown.pt"
    source.write_bytes(b"this would not even load")
    message = refusal(source, tmp_path, sha256="cd" * 32)
    assert "cd" * 32 in message
    assert hashlib.sha256(source.read_bytes()).hexdigest() in message
    assert "it was not run" in message


def test_another_network_is_refused(tmp_path: Path) -> None:
    source = save_script(tmp_path / "other.pt", nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()))
    assert "is of another network: it has a tensor 0." in refusal(source, tmp_path)


def test_a_network_with_other_classes_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "seven.pt"
    save_released(source, SuSy(7))
    assert "fc3.weight has shape [7, 256], not [6, 256]" in refusal(source, tmp_path)


class ActivatedOnce(Released):
    """The same tensors put together otherwise: one activation more."""

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(self.mlp(torch.relu(self.feature_extractor(x))))


class Logits(Released):
    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.feature_extractor(x))


class OneTileOnly(Released):
    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(self.mlp(self.feature_extractor(x.view(1, 3, 224, 224))))


@pytest.mark.usefixtures("few_tiles")
def test_a_program_of_the_right_hash_that_answers_otherwise_is_refused_with_the_difference(
    susy: SuSy, tmp_path: Path
) -> None:
    source = save_script(tmp_path / "activated.pt", ActivatedOnce(susy))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert "its answers differ from ours by 0." in refusal(source, tmp_path, sha256=digest.upper())


@pytest.mark.usefixtures("few_tiles")
def test_a_program_that_answers_with_no_probabilities_is_refused(susy: SuSy, tmp_path: Path) -> None:
    source = save_script(tmp_path / "logits.pt", Logits(susy))
    assert "does not answer with 6 probabilities per tile" in refusal(source, tmp_path)


@pytest.mark.usefixtures("few_tiles")
def test_a_program_that_fails_on_some_batch_is_refused(susy: SuSy, tmp_path: Path) -> None:
    source = save_script(tmp_path / "one.pt", OneTileOnly(susy))
    assert "fails on 2 tiles of 224×224" in refusal(source, tmp_path)


class DropsOut(Released):
    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(self.mlp(nn.functional.dropout(self.feature_extractor(x), 0.5, training=True)))


@pytest.mark.usefixtures("few_tiles")
def test_a_program_with_dropout_left_on_is_refused(susy: SuSy, tmp_path: Path) -> None:
    source = save_script(tmp_path / "drops.pt", DropsOut(susy))
    assert "answers the same tile differently" in refusal(source, tmp_path)


class Endless(Released):
    def forward(self, x: Tensor) -> Tensor:
        while bool(x.sum() >= 0):
            x = x + 1
        return x


def test_an_endless_program_is_ended(susy: SuSy, tmp_path: Path) -> None:
    source = save_script(tmp_path / "endless.pt", Endless(susy))
    assert "did not finish within 1 s" in refusal(source, tmp_path, limits=Limits(seconds=1))


def test_a_record_shorter_than_its_tensor_is_refused(released: Path, tmp_path: Path) -> None:
    source = tmp_path / "short.pt"
    with zipfile.ZipFile(released) as archive, zipfile.ZipFile(source, "w") as short:
        for name in archive.namelist():
            data = archive.read(name)
            short.writestr(name, data[:1000] if name.endswith("/data/0") else data)
    assert "the record data/0 has 1,000 bytes, its tensor needs more" in refusal(source, tmp_path)


def test_a_file_that_unpacks_to_more_than_allowed_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "bomb.pt"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("constants.pkl", "data.pkl", "data/0", "data/1"):
            archive.writestr(f"archive/{name}", bytes(2_000_000) if name == "data/0" else bytes(1_000_000))
    assert source.stat().st_size < 10_000
    limits = Limits(file_bytes=2_560_000)
    assert "unpacks to more than 2,560,000 bytes" in refusal(source, tmp_path, limits=limits)


def test_a_file_larger_than_allowed_is_not_read(tmp_path: Path) -> None:
    source = tmp_path / "large.pt"
    with source.open("wb") as file:
        file.truncate(10_000_000_000)
    assert "it has more than 256,000,000 bytes" in refusal(source, tmp_path)


def test_a_named_pipe_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "it is a named pipe" in refusal(tmp_path / "pipe", tmp_path)
    assert "it is a device" in refusal(Path("/dev/zero"), tmp_path)


def test_only_a_regular_file_is_replaced_and_that_is_checked_first(released: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("kept")
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "link", tmp_path / "pipe", tmp_path):
        with pytest.raises(SetupError, match="only a regular file is replaced") as caught:
            import_release(tmp_path / "nothing.pt", target)
        assert caught.value.code is ErrorCode.NOT_A_FILE
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "kept").read_bytes() == b"kept"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.timeout(20)
def test_a_golden_patch_that_is_too_large_or_never_ends_is_not_read(susy: SuSy, tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as large:
        large.truncate(10_000_001)
    os.mkfifo(tmp_path / "pipe.png")
    for patch in (tmp_path / "large.png", tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(SetupError, match="not a readable image"):
            verify_golden(susy, patch, [1 / 6] * 6, 5e-4)


@pytest.mark.parametrize(
    ("size", "words"), [((100, 100), "is 100×100, not the golden patch"), (None, "not a readable")]
)
def test_a_golden_patch_that_is_none_is_refused(
    size: tuple[int, int] | None, words: str, susy: SuSy, tmp_path: Path
) -> None:
    patch = tmp_path / "patch.png"
    patch.write_bytes(b"no image") if size is None else Image.new("RGB", size).save(patch)
    with pytest.raises(SetupError, match=words):
        verify_golden(susy, patch, [1 / 6] * 6, 5e-4)
