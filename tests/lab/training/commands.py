"""Training in this process, and what is needed to train as users do: a recipe file, and the end of a process."""

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Process
from worker.detector.weights import load_weights
from worker.lab.training import loop
from worker.lab.training.loop import fit
from worker.lab.training.recipe import Recipe

TIMEOUT = 300
"""Seconds; a busy machine takes minutes to load PyTorch."""
MAX_PIXELS = 10**8


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    """A checked copy with other values."""
    return Recipe.model_validate({**recipe.model_dump(), **changes})


def train(recipe: Recipe) -> Path:
    """Train in this process; the weights file."""
    return fit(recipe, max_pixels=MAX_PIXELS)


def train_until_checkpoint(recipe: Recipe) -> None:
    """Train in this process until the next checkpoint is written, and no further."""
    save = loop.save_checkpoint

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe)


def write_recipe(recipe: Recipe) -> Path:
    """The recipe as a TOML file in its output folder."""
    recipe.out.mkdir(parents=True, exist_ok=True)
    path = recipe.out / "recipe.toml"
    values = {key: value for key, value in recipe.model_dump().items() if value is not None and value != {}}
    path.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in values.items()))
    return path


def finish(process: Process) -> str:
    """What it has printed when it ends; fails with that if its exit code is not 0."""
    code = process.wait(TIMEOUT)
    assert code == 0, process.output()
    return process.output()


def rows(recipe: Recipe) -> list[dict[str, str]]:
    """The table of a run."""
    with (recipe.out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def curve(recipe: Recipe) -> list[dict[str, str]]:
    """The table of a run, without the time it took."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(recipe)]


def losses(recipe: Recipe, key: str = "train_loss") -> list[float]:
    """One column of the table of a run."""
    return [float(row[key]) for row in rows(recipe)]


def digest(recipe: Recipe) -> str:
    """The digest of the weights file of a run."""
    return load_weights(recipe.out / "weights.safetensors")[1].sha256


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return repr(value) if isinstance(value, int | float) else f'"{value}"'
