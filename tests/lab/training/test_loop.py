import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.lab.training.test_checkpoint import files_up_to
from worker.detector.weights import load_weights, save_weights
from worker.errors import ErrorCode, SetupError
from worker.lab.training import loop
from worker.lab.training.checkpoint import checkpoint_file, load_checkpoint
from worker.lab.training.loop import fit
from worker.lab.training.recipe import AUGMENTATIONS, Recipe


def rows(recipe: Recipe) -> list[dict[str, str]]:
    with (recipe.out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def curve(recipe: Recipe) -> list[dict[str, str]]:
    """What is logged, but for the time it took."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(recipe)]


def digest(recipe: Recipe) -> str:
    return load_weights(recipe.out / "weights.safetensors")[1].sha256


@pytest.fixture(scope="module")
def finished(recipe: Recipe) -> Recipe:
    fit(recipe)
    return recipe


def test_training_lowers_the_loss_and_writes_loadable_weights(finished: Recipe) -> None:
    losses = [float(row["train_loss"]) for row in rows(finished)]
    assert len(losses) == finished.epochs
    assert losses[-1] < losses[0]
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


def test_nothing_half_written_is_left(finished: Recipe) -> None:
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
    assert fit(finished) == path
    assert path.stat().st_mtime_ns == written
    assert rows(finished) == logged


def test_a_seed_gives_one_run_and_another_seed_another(finished: Recipe, tmp_path: Path) -> None:
    again, other = replace(finished, out=tmp_path / "again"), replace(finished, out=tmp_path / "other", seed=5)
    fit(again)
    fit(other)
    assert curve(again) == curve(finished)
    assert digest(again) == digest(finished)
    assert digest(other) != digest(finished)


def test_a_run_stopped_after_an_epoch_goes_on_as_if_it_never_stopped(
    finished: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = loop.save_checkpoint

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    broken = replace(finished, out=tmp_path)
    monkeypatch.setattr(loop, "save_checkpoint", save_and_stop)
    for _ in range(finished.epochs):
        with pytest.raises(KeyboardInterrupt):
            fit(broken)
    monkeypatch.undo()
    fit(broken)
    assert curve(broken) == curve(finished)
    assert digest(broken) == digest(finished)
    assert load_weights(broken.out / "weights.safetensors")[1].provenance["training"]["epochs"] == finished.epochs


def test_a_full_disk_ends_training_with_the_file_and_the_run_goes_on_when_there_is_room(
    finished: Recipe, tmp_path: Path
) -> None:
    short = replace(finished, out=tmp_path, epochs=2)
    shutil.copytree(finished.out / "patches", tmp_path / "patches")
    with files_up_to(1_000_000), pytest.raises(SetupError, match=r"weights\.safetensors") as raised:
        fit(short)
    assert raised.value.code is ErrorCode.DISK_FULL
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob("*.safetensors"))
    with files_up_to(100_000_000), pytest.raises(SetupError, match=r"checkpoint\.pt .*nothing was kept"):
        fit(short)  # room for the weights, but not for the checkpoint, which also holds the optimizer's state
    assert not checkpoint_file(short).exists()
    fit(short)
    assert curve(short) == curve(finished)[:2]


def test_early_stopping_counts_epochs_without_a_better_validation_loss(finished: Recipe, tmp_path: Path) -> None:
    patient = replace(finished, out=tmp_path, epochs=50, early_stopping=2, learning_rate=1e-2, plateau_patience=1)
    fit(patient)
    losses = [float(row["loss"]) for row in rows(patient)]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 2 < 50
    provenance = load_weights(patient.out / "weights.safetensors")[1].provenance
    assert provenance["metrics"]["epoch"] == best + 1
    assert provenance["training"]["epochs"] == len(losses)


def test_the_rate_falls_when_validation_stalls_and_along_a_cosine(finished: Recipe, tmp_path: Path) -> None:
    stalling = replace(
        finished, out=tmp_path / "plateau", epochs=6, learning_rate=1e-2, plateau_patience=1, plateau_factor=0.5
    )
    fit(stalling)
    rates, losses = ([float(row[key]) for row in rows(stalling)] for key in ("learning_rate", "loss"))
    rate, best, bad, expected = 1e-2, float("inf"), 0, []
    for loss in losses:  # torch's rule: better by 1e-4 of it; lowered after more than `patience` epochs that are not
        expected.append(rate)
        best, bad = (loss, 0) if loss < best * (1 - 1e-4) else (best, bad + 1)
        if bad > 1:
            rate, bad = rate / 2, 0
    assert rates == pytest.approx(expected)
    assert len(set(rates)) > 1
    falling = replace(finished, out=tmp_path / "cosine", epochs=3, schedule="cosine")
    fit(falling)
    assert [float(row["learning_rate"]) / 5e-4 for row in rows(falling)] == pytest.approx([1, 0.7525, 0.2575])


def test_a_loss_that_is_no_number_ends_training_and_names_the_rate(finished: Recipe, tmp_path: Path) -> None:
    model, info = load_weights(finished.out / "weights.safetensors")
    with torch.no_grad():
        model.fc3.weight.fill_(3e38)  # a number, but the logits are none
    start = tmp_path / "overflowing.safetensors"
    save_weights(start, model, name="overflowing", version="1", classes=info.classes, provenance={})
    wild = replace(finished, out=tmp_path / "run", start=start)
    with pytest.raises(SetupError, match=r"`learning_rate`.*lower it"):
        fit(wild)
    assert not checkpoint_file(wild).exists()


def test_training_can_start_from_weights(finished: Recipe, tmp_path: Path) -> None:
    start = finished.out / "weights.safetensors"
    second = replace(finished, start=start, out=tmp_path, crop=96, epochs=1, learning_rate=1e-5)
    path = fit(second)
    assert float(rows(second)[0]["train_loss"]) < float(rows(finished)[0]["train_loss"])
    assert load_weights(path)[1].provenance["recipe"]["started_from_weights"] is True


def test_weights_of_other_classes_are_no_start(finished: Recipe, tmp_path: Path) -> None:
    start = finished.out / "weights.safetensors"
    with pytest.raises(SetupError, match=r"`start`.*authentic, enlarged.*enlarged, authentic") as raised:
        fit(replace(finished, start=start, out=tmp_path, classes=("enlarged", "authentic")))
    assert raised.value.code is ErrorCode.RECIPE_INVALID


def test_class_weights_change_what_is_learned(finished: Recipe, tmp_path: Path) -> None:
    """With all weight on one class the network calls everything that class."""
    lopsided = replace(
        finished, out=tmp_path / "lopsided", class_weights={"authentic": 1e-6, "enlarged": 1.0}, epochs=2
    )
    fit(lopsided)
    assert float(rows(lopsided)[-1]["accuracy"]) == 0.5
    assert float(rows(lopsided)[-1]["train_loss"]) < 0.5
    balanced = replace(finished, out=tmp_path / "balanced", class_weights="balanced")
    fit(balanced)
    assert curve(balanced) == curve(finished)  # both classes have twelve tiles


def test_mixed_precision_trains_on_a_cpu_too(finished: Recipe, tmp_path: Path) -> None:
    mixed = replace(finished, out=tmp_path, precision="bfloat16")
    fit(mixed)
    losses, exact = ([float(row["train_loss"]) for row in rows(run)] for run in (mixed, finished))
    assert losses != exact
    assert losses == pytest.approx(exact, rel=0.1)
    assert load_weights(mixed.out / "weights.safetensors")[0].conv1.weight.dtype == torch.float32
    with pytest.raises(SetupError, match="`precision` float16 needs a GPU"):
        fit(replace(finished, out=tmp_path / "half", precision="float16", device="cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_asked_for_and_not_there_is_said(finished: Recipe, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"`device` cuda: this machine has 0 CUDA device.*cpu") as raised:
        fit(replace(finished, out=tmp_path, device="cuda"))
    assert raised.value.code is ErrorCode.DEVICE_UNAVAILABLE


def test_a_file_in_the_way_of_the_output_is_said(finished: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"`out` .*name another"):
        fit(replace(finished, out=tmp_path / "file"))


def test_without_tensorboard_it_is_said_once_and_the_table_is_written(
    finished: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    without = replace(finished, out=tmp_path, epochs=2)
    fit(without)
    assert capsys.readouterr().err.count("susy-worker[train]") == 1
    assert len(rows(without)) == 2
    assert not (tmp_path / "tensorboard").exists()


def test_one_line_an_epoch_goes_to_stderr_and_no_bar_when_nobody_watches(
    finished: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(replace(finished, out=tmp_path, epochs=2, augment=AUGMENTATIONS))
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2"]


def test_a_checkpoint_holds_the_position(finished: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    often = replace(finished, out=tmp_path, checkpoint_every=2, epochs=1)
    states = []
    save = loop.save_checkpoint

    def save_and_look(recipe: Recipe, data: str, state: dict[str, Any]) -> None:
        save(recipe, data, state)
        states.append(load_checkpoint(recipe, data))

    monkeypatch.setattr(loop, "save_checkpoint", save_and_look)
    fit(often)
    assert [(state["progress"]["step"], len(state["progress"]["history"])) for state in states] == [(2, 0), (0, 1)]
    assert states[0]["progress"]["tiles"] == 16
