"""Killing a training process, and what comes of it when it is started again."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.lab.training.commands import curve, finish, kill, start, write_recipe
from worker.detector.weights import load_weights
from worker.lab.training.checkpoint import checkpoint_file
from worker.lab.training.recipe import AUGMENTATIONS, Recipe

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def eventful(recipe: Recipe) -> Recipe:
    """Eight steps an epoch, of everything that is random."""
    return replace(
        recipe,
        augment=AUGMENTATIONS,
        crop_at="random",
        encode=0.3,
        tiles_per_epoch=64,
        plateau_patience=1,
        checkpoint_every=3,
        class_weights="balanced",
    )


def test_a_run_killed_within_an_epoch_ends_with_the_same_curve_and_the_same_bits(
    eventful: Recipe, tmp_path: Path
) -> None:
    unbroken, broken = (replace(eventful, out=tmp_path / name) for name in ("unbroken", "broken"))
    finish(start("-m", "worker", "train", write_recipe(unbroken)))

    file = write_recipe(broken)
    process = start("-m", "worker", "train", file)
    _wait_for_checkpoints(broken, 5)  # 3, 6 and 8 steps of the first epoch, 3 and 6 of the second
    kill(process)
    stopped_at = torch.load(checkpoint_file(broken), weights_only=True)["state"]["progress"]
    assert len(stopped_at["history"]) == 1
    assert stopped_at["step"] in (3, 6)

    process = start("-m", "worker", "train", file)
    _wait_for_partial(broken)
    kill(process)
    torch.load(checkpoint_file(broken), weights_only=True)  # the latest is whole, whatever was being written

    output = finish(start("-m", "worker", "train", file))
    assert "going on after" in output
    assert curve(broken.out) == curve(unbroken.out)
    assert len(curve(broken.out)) == 3
    ours, theirs = (load_weights(run.out / "weights.safetensors") for run in (broken, unbroken))
    assert ours[1].sha256 == theirs[1].sha256
    last = [torch.load(checkpoint_file(run), weights_only=True)["state"]["model"] for run in (broken, unbroken)]
    assert all(torch.equal(tensor, last[1][key]) for key, tensor in last[0].items())
    assert not list(broken.out.glob("*.partial"))


def _wait_for_checkpoints(recipe: Recipe, count: int) -> None:
    seen: set[int] = set()

    def enough() -> bool:
        if checkpoint_file(recipe).exists():
            seen.add(checkpoint_file(recipe).stat().st_mtime_ns)
        return len(seen) >= count

    _wait(enough)


def _wait_for_partial(recipe: Recipe) -> None:
    _wait(lambda: any(recipe.out.glob("checkpoint.pt.*.partial")))


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not until():
        assert time.monotonic() < deadline, "the run did not come so far"
        time.sleep(0.005)
