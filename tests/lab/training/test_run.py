from pathlib import Path

import pytest
import torch

from tests.lab.training.commands import changed
from tests.support.full_disk import file_size_limit
from worker.detector.weights import save_weights
from worker.errors import ErrorCode, SetupError
from worker.files import remove_partial_files
from worker.lab.training.distributed import ProcessGroup
from worker.lab.training.recipe import Recipe
from worker.lab.training.run import Epoch, Run, checkpoint_file, load_checkpoint, new_run, save_checkpoint

STATE = {"numbers": torch.arange(100_000), "epochs": 3}


@pytest.fixture
def started(recipe: Recipe, tmp_path: Path) -> Recipe:
    return changed(recipe, out=tmp_path)


def test_a_checkpoint_comes_back_and_there_is_none_at_first(started: Recipe) -> None:
    assert load_checkpoint(started, "data") is None
    save_checkpoint(started, "data", STATE)
    state = load_checkpoint(started, "data")
    assert state is not None
    assert torch.equal(state["numbers"], STATE["numbers"])
    assert state["epochs"] == 3


def test_a_full_disk_is_named_and_leaves_the_previous_checkpoint(started: Recipe) -> None:
    save_checkpoint(started, "data", STATE)
    before = checkpoint_file(started).read_bytes()
    with (
        file_size_limit(100_000),
        pytest.raises(SetupError, match=r"checkpoint\.pt .*is kept") as raised,
    ):
        save_checkpoint(started, "data", {**STATE, "epochs": 4})
    assert raised.value.code is ErrorCode.DISK_FULL
    assert checkpoint_file(started).read_bytes() == before
    assert [file.name for file in started.out.iterdir()] == ["checkpoint.pt"]


def test_partial_files_of_a_killed_process_are_removed(started: Recipe) -> None:
    save_checkpoint(started, "data", STATE)
    (started.out / "checkpoint.pt.123.partial").write_bytes(b"half")
    remove_partial_files(started.out)
    assert [file.name for file in started.out.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("change", [{"learning_rate": 1e-3}, {"batch": 4}, {"seed": 9}, {"augment": ("flip",)}])
def test_another_recipe_does_not_continue_a_run(started: Recipe, change: dict[str, object]) -> None:
    save_checkpoint(started, "data", STATE)
    with pytest.raises(SetupError, match=r"another recipe.*`out`") as raised:
        load_checkpoint(changed(started, **change), "data")
    assert raised.value.code is ErrorCode.RECIPE_INVALID


def test_another_machine_continues_a_run(started: Recipe) -> None:
    save_checkpoint(started, "data", STATE)
    elsewhere = changed(started, device="cpu", threads=7, loaders=3, checkpoint_every=10, data=Path("elsewhere"))
    assert load_checkpoint(elsewhere, "data") is not None


def test_other_data_does_not_continue_a_run(started: Recipe) -> None:
    save_checkpoint(started, "data", STATE)
    with pytest.raises(SetupError, match="other data") as raised:
        load_checkpoint(started, "changed")
    assert raised.value.code is ErrorCode.RECIPE_INVALID


@pytest.mark.parametrize("length", [0, 10, 1000, -1])
def test_a_damaged_checkpoint_is_named(started: Recipe, length: int) -> None:
    save_checkpoint(started, "data", STATE)
    content = checkpoint_file(started).read_bytes()
    checkpoint_file(started).write_bytes(content[:length])
    with pytest.raises(SetupError, match=r"checkpoint\.pt is damaged.*remove it"):
        load_checkpoint(started, "data")


def new(recipe: Recipe) -> Run:
    return new_run(recipe, ProcessGroup(torch.device("cpu")))


def rates(run: Run, losses: list[float]) -> list[float]:
    """The learning rates of a run whose epochs end with these validation losses."""
    found = []
    for loss in losses:
        found.append(run.learning_rate)
        run.optimizer.step()  # of an epoch without gradients
        run.finish_epoch(Epoch(run.epochs + 1, run.learning_rate, 1.0, 0.5, loss, 0.5, 0.5, 1.0))
    return found


def test_the_learning_rate_falls_when_validation_stalls(recipe: Recipe) -> None:
    """torch's rule: an epoch is better by more than 1e-4 of the loss; after `patience` worse ones the rate falls."""
    run = new(changed(recipe, learning_rate=1e-2, plateau_patience=1, plateau_factor=0.5))
    losses = [1.0, 0.9, 0.95, 0.89999, 0.8, 0.85, 0.8, 0.81, 0.82]
    assert rates(run, losses) == pytest.approx([1e-2] * 4 + [5e-3] * 3 + [2.5e-3] * 2)
    assert (run.progress.stale, run.progress.best_loss) == (4, 0.8)


def test_the_learning_rate_falls_along_a_cosine(recipe: Recipe) -> None:
    run = new(changed(recipe, epochs=3, schedule="cosine"))
    assert [rate / recipe.learning_rate for rate in rates(run, [1.0] * 3)] == pytest.approx([1, 0.7525, 0.2575])


def test_the_best_epoch_is_the_one_of_lowest_validation_loss(recipe: Recipe) -> None:
    run = new(recipe)
    best = [run.finish_epoch(Epoch(1, 1e-3, 1.0, 0.5, loss, 0.5, 0.5, 1.0)) for loss in (1.0, 1.1, 0.9, 0.9)]
    assert best == [True, False, True, False]


def test_weights_of_other_classes_cannot_be_the_start(recipe: Recipe, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_weights(start, new(recipe).model, name="start", version="1", classes=recipe.classes, provenance={})
    assert new(changed(recipe, start=start)).model.temperature == 1
    with pytest.raises(SetupError, match=r"`start`.*authentic, enlarged.*enlarged, authentic") as raised:
        new(changed(recipe, start=start, classes=("enlarged", "authentic")))
    assert raised.value.code is ErrorCode.RECIPE_INVALID


def test_float16_needs_a_gpu(recipe: Recipe) -> None:
    with pytest.raises(SetupError, match="`precision` float16 needs a GPU"):
        new(changed(recipe, precision="float16"))
