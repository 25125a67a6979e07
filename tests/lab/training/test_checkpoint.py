import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worker.errors import ErrorCode, SetupError
from worker.files import remove_partial_files
from worker.lab.training.checkpoint import checkpoint_file, load_checkpoint, save_checkpoint
from worker.lab.training.recipe import Recipe

STATE = {"numbers": torch.arange(100_000), "epochs": 3}


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """The operating system refuses to let any file of this process grow further, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def started(recipe: Recipe, tmp_path: Path) -> Recipe:
    return replace(recipe, out=tmp_path)


def test_a_checkpoint_comes_back_and_there_is_none_at_first(started: Recipe) -> None:
    assert load_checkpoint(started, "data") is None
    save_checkpoint(started, "data", STATE)
    state = load_checkpoint(started, "data")
    assert state is not None
    assert torch.equal(state["numbers"], STATE["numbers"])
    assert state["epochs"] == 3


def test_a_full_disk_is_named_and_leaves_the_checkpoint_before(started: Recipe) -> None:
    save_checkpoint(started, "data", STATE)
    before = checkpoint_file(started).read_bytes()
    with files_up_to(100_000), pytest.raises(SetupError, match=r"checkpoint\.pt .*the one before is kept") as raised:
        save_checkpoint(started, "data", {**STATE, "epochs": 4})
    assert raised.value.code is ErrorCode.DISK_FULL
    assert checkpoint_file(started).read_bytes() == before
    assert [file.name for file in started.out.iterdir()] == ["checkpoint.pt"]


def test_what_a_killed_process_left_half_written_is_removed(started: Recipe) -> None:
    save_checkpoint(started, "data", STATE)
    (started.out / "checkpoint.pt.123.partial").write_bytes(b"half")
    remove_partial_files(started.out)
    assert [file.name for file in started.out.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("change", [{"learning_rate": 1e-3}, {"batch": 4}, {"seed": 9}, {"augment": ("flip",)}])
def test_another_recipe_does_not_continue_a_run(started: Recipe, change: dict[str, object]) -> None:
    save_checkpoint(started, "data", STATE)
    with pytest.raises(SetupError, match=r"another recipe.*`out`") as raised:
        load_checkpoint(replace(started, **change), "data")
    assert raised.value.code is ErrorCode.RECIPE_INVALID


def test_another_machine_does(started: Recipe) -> None:
    save_checkpoint(started, "data", STATE)
    elsewhere = replace(started, device="cpu", threads=7, loaders=3, checkpoint_every=10, data=Path("elsewhere"))
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
