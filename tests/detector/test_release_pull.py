import hashlib
import io
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import few_tiles
from tests.support.commands import Processes
from tests.support.hub import COMMIT, Hub, serve
from tests.support.released import random_susy, save_released
from worker.detector.model import SuSy
from worker.detector.release import RELEASE, Golden, Release, pull
from worker.detector.weights import load_weights
from worker.errors import ErrorCode, SetupError

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")

pytestmark = pytest.mark.usefixtures("forked_programs")

ANOTHER_GOLDEN = Golden("midjourney-images-example-patch0.png", (0.5, 0.1, 0.1, 0.1, 0.1, 0.1), 5e-4)


@pytest.fixture(scope="module")
def patch() -> bytes:
    pixels = np.random.default_rng(5).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


@pytest.fixture(scope="module")
def release(susy: SuSy, patch: bytes) -> Release:
    """The real release, with the golden answer of the stand-in's weights."""
    pixels = np.asarray(Image.open(io.BytesIO(patch)), np.float32) / 255
    with torch.inference_mode():
        answer = susy(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
    assert RELEASE.golden
    return replace(RELEASE, golden=replace(RELEASE.golden, probabilities=tuple(answer.tolist())))


@pytest.fixture
def hub(released: Path, release: Release, patch: bytes) -> Iterator[Hub]:
    assert release.golden
    files = {release.filename: released.read_bytes(), release.golden.filename: patch}
    with serve(Hub(release.repo, files)) as hub:
        yield hub


def same_weights(one: SuSy, other: SuSy) -> bool:
    states = [model.state_dict() for model in (one, other)]
    compared = [key for key in states[0] if not key.endswith("num_batches_tracked")]
    return states[0].keys() == states[1].keys() and all(torch.equal(*(of[key] for of in states)) for key in compared)


def refusal(target: Path, hub: Hub, release: Release) -> str:
    before = target.read_bytes() if target.exists() else None
    with pytest.raises(SetupError) as caught:
        pull(target, endpoint=hub.endpoint, release=release)
    assert caught.value.code == ErrorCode.WEIGHTS_INVALID
    assert "\n" not in caught.value.message
    assert (target.read_bytes() if target.exists() else None) == before
    assert [path for path in target.parent.glob("*") if path != target] == []
    return caught.value.message


def shifted(release: Release, shift: float) -> Release:
    """The release with another golden answer."""
    assert release.golden
    first, *others = release.golden.probabilities
    return replace(release, golden=replace(release.golden, probabilities=(first + shift, *others)))


def test_the_pinned_file_is_pulled_with_an_answer_within_the_published_tolerance(
    tmp_path: Path,
    hub: Hub,
    release: Release,
    susy: SuSy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_tiles.compare_few_tiles(monkeypatch)
    digest = hashlib.sha256(hub.files["SuSy.pt"]).hexdigest()
    target = tmp_path / "new" / "susy.safetensors"
    info = pull(target, endpoint=hub.endpoint, release=replace(shifted(release, 4e-4), sha256=digest))
    model, loaded = load_weights(target)
    assert loaded == info
    assert info.provenance["source_sha256_expected"] == digest
    assert info.provenance["source_sha256_pinned"] is True
    assert info.provenance["golden_difference"] == pytest.approx(4e-4, abs=1e-5)
    assert same_weights(model, susy)


def test_an_answer_beyond_the_published_tolerance_is_refused(tmp_path: Path, hub: Hub, release: Release) -> None:
    refused = refusal(tmp_path / "susy.safetensors", hub, shifted(release, 6e-4))
    assert "the probabilities differ by 0.0006, allowed 0.0005" in refused


def test_no_token_of_the_user_is_sent(
    tmp_path: Path, hub: Hub, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.served["SuSy.pt"] = b"short"  # ends the pull after the download
    refusal(tmp_path / "susy.safetensors", hub, release)
    assert {command for command, _, _ in hub.requests} == {"HEAD", "GET"}
    assert all("authorization" not in headers for _, _, headers in hub.requests)


@pytest.mark.skipif(huggingface_hub.__version__.startswith("0."), reason="old versions give up, and `pull` with them")
def test_a_dropped_connection_is_resumed_where_it_broke(tmp_path: Path, hub: Hub, release: Release) -> None:
    hub.breaks_after["SuSy.pt"] = 30_000_000
    # The golden patch is compared after the digest of the file.
    assert "published answer" in refusal(tmp_path / "susy.safetensors", hub, replace(release, golden=ANOTHER_GOLDEN))
    assert any(headers.get("range", "").startswith("bytes=") for _, _, headers in hub.requests)


def test_a_file_shorter_than_announced_is_refused(tmp_path: Path, hub: Hub, release: Release) -> None:
    target = tmp_path / "susy.safetensors"
    target.write_bytes(b"what was there before")
    hub.served["SuSy.pt"] = hub.files["SuSy.pt"][:1000]
    assert "should be of size" in refusal(target, hub, release)


def test_bytes_of_another_digest_than_the_hub_announces_are_refused(tmp_path: Path, hub: Hub, release: Release) -> None:
    altered = bytearray(hub.files["SuSy.pt"])
    altered[20_000_000] ^= 1
    hub.served["SuSy.pt"] = bytes(altered)
    pinned = replace(release, sha256=hashlib.sha256(hub.files["SuSy.pt"]).hexdigest())
    message = refusal(tmp_path / "susy.safetensors", hub, pinned)
    assert "it was not run" in message
    assert hashlib.sha256(altered).hexdigest() in message
    assert hashlib.sha256(hub.files["SuSy.pt"]).hexdigest() in message


def test_another_file_than_the_pinned_one_is_refused_before_it_is_fetched(
    tmp_path: Path, hub: Hub, release: Release
) -> None:
    message = refusal(tmp_path / "susy.safetensors", hub, replace(release, sha256="ab" * 32))
    assert "ab" * 32 in message
    assert hashlib.sha256(hub.files["SuSy.pt"]).hexdigest() in message
    assert [command for command, _, _ in hub.requests] == ["HEAD"]


def test_another_revision_than_asked_for_is_refused(tmp_path: Path, hub: Hub, release: Release) -> None:
    with pytest.raises(SetupError, match="HTTP 404"):
        pull(tmp_path / "a", endpoint=hub.endpoint, release=replace(release, revision="1051963"))
    hub.commit = ""
    assert "HTTP 404" in refusal(tmp_path / "b", hub, release)


def test_a_server_that_names_no_digest_is_refused(tmp_path: Path, hub: Hub, release: Release) -> None:
    hub.announces_lfs = False
    assert "does not say which SHA-256" in refusal(tmp_path / "susy.safetensors", hub, release)


def test_a_missing_file_is_refused_with_its_status(tmp_path: Path, hub: Hub, release: Release) -> None:
    del hub.files["SuSy.pt"]
    assert "HTTP 404" in refusal(tmp_path / "susy.safetensors", hub, release)


def test_the_command_pulls_from_the_server_of_the_environment_and_says_what_it_does(
    tmp_path: Path, bare_processes: Processes, patch: bytes
) -> None:
    """The program runs in a process that imports torch itself, as users' do."""
    assert RELEASE.golden
    golden = random_susy(seed=3)
    pixels = np.asarray(Image.open(io.BytesIO(patch)), np.float32) / 255
    with torch.inference_mode():  # give this patch the answer that the real weights give the real one
        logits = golden.logits(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
        golden.fc3.bias += torch.tensor(RELEASE.golden.probabilities).log() - logits
    save_released(tmp_path / "SuSy.pt", golden)
    files = {RELEASE.filename: (tmp_path / "SuSy.pt").read_bytes(), RELEASE.golden.filename: patch}
    target = tmp_path / "data" / "susy-worker" / "susy.safetensors"
    data = {"XDG_DATA_HOME": str(tmp_path / "data"), "HOME": str(tmp_path)}
    with serve(Hub(RELEASE.repo, files)) as hub:
        command = bare_processes.fork(
            (few_tiles.__name__, few_tiles.run_with_few_tiles.__name__),
            "weights",
            "pull",
            HF_ENDPOINT=hub.endpoint,
            **data,
        )
        assert command.wait() == 0, command.output()
    model, info = load_weights(target)
    assert info.sha256 in command.output()
    for step in (
        "asking 127.0.0.1 for SuSy.pt of HPAI-BSC/SuSy at 54d4d55",
        "downloading SuSy.pt (",
        "comparing its answers with ours",
    ):
        assert step in command.output()
    assert (info.name, info.version, info.classes) == ("susy", "54d4d55", RELEASE.classes)
    assert info.provenance["repository"] == "HPAI-BSC/SuSy"
    assert info.provenance["revision"] == COMMIT
    digest = hashlib.sha256(files["SuSy.pt"]).hexdigest()
    assert info.provenance["source_sha256"] == info.provenance["source_sha256_expected"] == digest
    assert info.provenance["source_sha256_pinned"] is False
    assert info.provenance["golden_difference"] < 1e-6
    assert same_weights(model, golden)


def test_the_command_refuses_another_network_in_one_line(tmp_path: Path, bare_processes: Processes, hub: Hub) -> None:
    result = bare_processes.run("weights", "pull", "--to", "susy.safetensors", HF_ENDPOINT=hub.endpoint)
    assert result.code == 2
    assert "do not give its published answer" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "susy.safetensors").exists()


def test_a_server_that_is_down_is_named_in_one_line_without_its_password(tmp_path: Path, release: Release) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    hub = Hub(release.repo, endpoint=f"http://someone:hunter2@127.0.0.1:{port}")
    message = refusal(tmp_path / "susy.safetensors", hub, release)
    assert "was not downloaded from 127.0.0.1" in message
    assert "hunter2" not in message


def test_without_the_extra_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SetupError, match=r"pip install 'susy-worker\[hub\]'") as caught:
        pull(tmp_path / "susy.safetensors")
    assert caught.value.code == ErrorCode.MISSING_EXTRA
