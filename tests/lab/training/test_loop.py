import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.lab.training.commands import (
    changed,
    curve,
    digest,
    finish,
    losses,
    rows,
    train,
    train_until_checkpoint,
    write_recipe,
)
from tests.support.commands import Process, Processes
from tests.support.full_disk import file_size_limit
from worker.detector.weights import load_weights, save_weights
from worker.errors import ErrorCode, SetupError
from worker.lab.training import loop
from worker.lab.training.recipe import AUGMENTATIONS, Recipe
from worker.lab.training.run import checkpoint_file, load_checkpoint


def test_training_lowers_the_loss_and_writes_loadable_weights(finished: Recipe) -> None:
    assert len(losses(finished)) == finished.epochs
    assert losses(finished)[-1] < losses(finished)[0]
    model, info = load_weights(finished.out / "weights.safetensors")
    assert info.classes == finished.classes
    assert info.name == "tiny"
    with torch.inference_mode():
        probabilities = model(torch.rand(2, 3, 64, 64))
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(2))


def test_the_weights_file_says_what_made_it_and_names_no_path(finished: Recipe) -> None:
    provenance: dict[str, Any] = dict(load_weights(finished.out / "weights.safetensors")[1].provenance)
    assert provenance["recipe"]["learning_rate"] == finished.learning_rate
    assert provenance["recipe"]["started_from_weights"] is False
    assert provenance["data"]["images"] == {
        "train": {"authentic": 4, "enlarged": 4},
        "val": {"authentic": 4, "enlarged": 4},
    }
    assert provenance["data"]["tiles"] == {"train": [12, 12], "val": [12, 12]}
    assert len(provenance["data"]["fingerprint"]) == 64
    best = min(rows(finished), key=lambda row: float(row["loss"]))
    assert provenance["metrics"]["epoch"] == int(best["epoch"])
    assert provenance["metrics"]["loss"] == float(best["loss"])
    assert provenance["training"]["epochs"] == finished.epochs
    assert provenance["training"]["device"] == "cpu"
    assert provenance["versions"]["torch"] == torch.__version__
    text = json.dumps(provenance)
    assert str(finished.data) not in text
    assert str(finished.out) not in text


def test_no_partial_file_is_left(finished: Recipe) -> None:
    expected = {"checkpoint.pt", "metrics.csv", "patches", "tensorboard", "weights.safetensors"}
    assert {path.name for path in finished.out.iterdir()} == expected


def test_tensorboard_has_every_epoch_of_the_table(finished: Recipe) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(finished.out / "tensorboard"))
    board.Reload()
    for name in ("train_loss", "loss", "accuracy", "detection_f1", "learning_rate"):
        shown = [(event.step, event.value) for event in board.Scalars(name)]
        assert shown == [(int(row["epoch"]), pytest.approx(float(row[name]))) for row in rows(finished)]


def test_a_finished_run_is_not_trained_again(finished: Recipe) -> None:
    path = finished.out / "weights.safetensors"
    written, logged = path.stat().st_mtime_ns, rows(finished)
    assert train(finished) == path
    assert path.stat().st_mtime_ns == written
    assert rows(finished) == logged


def test_another_seed_gives_another_run(finished: Recipe, tmp_path: Path) -> None:
    other = changed(finished, out=tmp_path, seed=5, epochs=1)
    train(other)
    assert losses(other)[0] != losses(finished)[0]


def test_a_run_stopped_after_each_epoch_is_the_same_as_one_that_never_stopped(finished: Recipe, tmp_path: Path) -> None:
    """The same seed gives the same run, too: both are separate runs of one recipe."""
    broken = changed(finished, out=tmp_path)
    for _ in range(finished.epochs):
        train_until_checkpoint(broken)
    train(broken)
    assert curve(broken) == curve(finished)
    assert digest(broken) == digest(finished)
    assert load_weights(broken.out / "weights.safetensors")[1].provenance["training"]["epochs"] == finished.epochs


@pytest.mark.timeout(600)
def test_a_run_killed_within_an_epoch_ends_with_the_same_curve_and_the_same_bits(
    recipe: Recipe, processes: Processes, tmp_path: Path
) -> None:
    """Five steps per epoch, of everything that is random."""
    eventful = changed(
        recipe,
        augment=AUGMENTATIONS,
        crop_at="random",
        encode=0.3,
        batch=4,
        tiles_per_epoch=20,
        plateau_patience=1,
        checkpoint_every=2,
        class_weights="balanced",
    )
    unbroken, broken = (changed(eventful, out=tmp_path / name) for name in ("unbroken", "broken"))
    train(changed(unbroken, checkpoint_every=0))

    file = write_recipe(broken)
    process = processes.start("train", file)
    _wait_for_checkpoints(process, broken, 4)  # after 2, 4 and 5 steps of the first epoch, 2 of the second
    process.eventually(lambda: any(broken.out.glob("checkpoint.pt.*.partial")), 300)
    process.kill()
    # The latest checkpoint is complete, although the next one was being written.
    stopped_at = torch.load(checkpoint_file(broken), weights_only=True)["state"]["progress"]
    assert len(stopped_at["history"]) == 1
    assert stopped_at["step"] in (2, 4)

    output = finish(processes.start("train", file))
    assert "resuming after 1 epochs" in output
    assert curve(broken) == curve(unbroken)
    assert len(curve(broken)) == 2
    assert digest(broken) == digest(unbroken)
    last = [torch.load(checkpoint_file(run), weights_only=True)["state"]["model"] for run in (broken, unbroken)]
    assert all(torch.equal(tensor, last[1][key]) for key, tensor in last[0].items())
    assert not list(broken.out.glob("*.partial"))


def _wait_for_checkpoints(process: Process, recipe: Recipe, count: int) -> None:
    seen: set[int] = set()

    def enough() -> bool:
        if checkpoint_file(recipe).exists():
            seen.add(checkpoint_file(recipe).stat().st_mtime_ns)
        return len(seen) >= count

    process.eventually(enough, 300)


def test_a_full_disk_ends_training_with_the_file_and_the_run_resumes_when_there_is_room(
    finished: Recipe, tmp_path: Path
) -> None:
    short = changed(finished, out=tmp_path, epochs=1)
    shutil.copytree(finished.out / "patches", tmp_path / "patches")
    with file_size_limit(1_000_000), pytest.raises(SetupError, match=r"weights\.safetensors") as raised:
        train(short)
    assert raised.value.code is ErrorCode.DISK_FULL
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob("*.safetensors"))
    with file_size_limit(100_000_000), pytest.raises(SetupError, match=r"checkpoint\.pt .*nothing was written"):
        train(short)  # room for the weights, but not for the checkpoint, which also holds the optimizer's state
    assert not checkpoint_file(short).exists()
    train(short)
    assert curve(short) == curve(finished)[:1]


def test_early_stopping_counts_epochs_without_a_better_validation_loss(finished: Recipe, tmp_path: Path) -> None:
    patient = changed(finished, out=tmp_path, epochs=50, early_stopping=1, learning_rate=1e-2, plateau_patience=1)
    train(patient)
    of_epochs = losses(patient, "loss")
    best = of_epochs.index(min(of_epochs))
    assert len(of_epochs) == best + 1 + 1 < 50
    provenance = load_weights(patient.out / "weights.safetensors")[1].provenance
    assert provenance["metrics"]["epoch"] == best + 1
    assert provenance["training"]["epochs"] == len(of_epochs)


def test_a_loss_that_is_not_a_number_ends_training_and_names_the_rate(finished: Recipe, tmp_path: Path) -> None:
    model, info = load_weights(finished.out / "weights.safetensors")
    with torch.no_grad():
        model.fc3.weight.fill_(3e38)  # finite, but the logits are not
    start = tmp_path / "overflowing.safetensors"
    save_weights(start, model, name="overflowing", version="1", classes=info.classes, provenance={})
    wild = changed(finished, out=tmp_path / "run", start=start)
    with pytest.raises(SetupError, match=r"`learning_rate`.*lower it"):
        train(wild)
    assert not checkpoint_file(wild).exists()


def test_training_can_start_from_weights(finished: Recipe, tmp_path: Path) -> None:
    start = finished.out / "weights.safetensors"
    second = changed(finished, start=start, out=tmp_path, crop=64, epochs=1, learning_rate=1e-5)
    path = train(second)
    assert losses(second)[0] < losses(finished)[0]
    assert load_weights(path)[1].provenance["recipe"]["started_from_weights"] is True


def test_class_weights_change_what_is_learned(finished: Recipe, tmp_path: Path) -> None:
    """With all weight on one class the network classifies everything as that class."""
    lopsided = changed(finished, out=tmp_path, class_weights={"authentic": 1e-6, "enlarged": 1.0}, epochs=1)
    train(lopsided)
    assert float(rows(lopsided)[-1]["accuracy"]) == 0.5
    assert losses(lopsided)[-1] < 0.5


def test_mixed_precision_trains_on_a_cpu_too(finished: Recipe, tmp_path: Path) -> None:
    mixed = changed(finished, out=tmp_path, precision="bfloat16", epochs=1)
    train(mixed)
    exact = losses(finished)[:1]
    assert losses(mixed) != exact
    assert losses(mixed) == pytest.approx(exact, rel=0.1)
    assert load_weights(mixed.out / "weights.safetensors")[0].conv1.weight.dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_asked_for_and_absent_is_an_error(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"`device` cuda: this machine has 0 CUDA device.*cpu") as raised:
        train(changed(recipe, out=tmp_path, device="cuda"))
    assert raised.value.code is ErrorCode.DEVICE_UNAVAILABLE


def test_a_file_in_the_place_of_the_output_folder_is_named(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"`out` .*name another"):
        train(changed(recipe, out=tmp_path / "file"))


def test_one_line_per_epoch_goes_to_stderr_and_the_table_is_written_without_tensorboard(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    without = changed(recipe, out=tmp_path, epochs=1, augment=AUGMENTATIONS)
    train(without)
    captured = capsys.readouterr()
    assert captured.out == ""
    hint, *lines = captured.err.splitlines()
    assert "susy-worker[train]" in hint
    assert [line.split(":")[0] for line in lines] == ["epoch 1"]  # and no bar: stderr is not a terminal
    assert len(rows(without)) == 1
    assert not (tmp_path / "tensorboard").exists()


def test_a_checkpoint_holds_the_position(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    often = changed(recipe, out=tmp_path, checkpoint_every=2, epochs=1)
    states = []
    save = loop.save_checkpoint

    def save_and_load(recipe: Recipe, data: str, state: dict[str, Any]) -> None:
        save(recipe, data, state)
        states.append(load_checkpoint(recipe, data))

    monkeypatch.setattr(loop, "save_checkpoint", save_and_load)
    train(often)
    assert [(state["progress"]["step"], len(state["progress"]["history"])) for state in states] == [(2, 0), (0, 1)]
    assert states[0]["progress"]["tiles"] == 16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_each_precision_trains_on_a_gpu_and_writes_float32_weights(
    recipe: Recipe, tmp_path: Path, precision: str
) -> None:
    # Two epochs are six steps, whose losses vary more with the tiles drawn than they fall.
    run = changed(recipe, out=tmp_path, precision=precision, device="cuda", epochs=20, early_stopping=20, dropout=0.0)
    path = train(run)
    assert min(losses(run)[-3:]) < 0.9 * losses(run)[0]
    model, info = load_weights(path)
    assert model.conv1.weight.dtype == torch.float32
    assert info.provenance["training"]["device"] == torch.cuda.get_device_name()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_run_stopped_on_a_gpu_resumes_with_its_scaler_and_its_generators(
    recipe: Recipe, tmp_path: Path, precision: str
) -> None:
    """CUDA does not add in a fixed order, which Adam's first steps amplify; at a low rate the losses still depend on
    the tiles and on dropout, and hardly on the last bits."""
    unbroken, broken = (
        changed(recipe, out=tmp_path / name, precision=precision, device="cuda", checkpoint_every=2, learning_rate=1e-6)
        for name in ("unbroken", "broken")
    )
    train(unbroken)
    for _ in range(3):  # within the first epoch, at its end, within the second
        train_until_checkpoint(broken)
    train(broken)
    assert losses(broken) == pytest.approx(losses(unbroken), rel=1e-3)
    scalers = [torch.load(checkpoint_file(run), weights_only=True)["state"]["scaler"] for run in (unbroken, broken)]
    assert scalers[0] == scalers[1]
