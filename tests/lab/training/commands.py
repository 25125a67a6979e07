"""Training in this process, and as users start it: a recipe file and a process of its own."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import CHECKOUT
from worker.detector.weights import load_weights
from worker.lab.training import loop
from worker.lab.training.loop import fit
from worker.lab.training.recipe import Recipe

TIMEOUT = 800
"""Seconds; a busy machine takes minutes to load PyTorch."""
MAX_PIXELS = 10**8
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


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


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """A Python process of this environment; standard error goes with standard output."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=CHECKOUT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What it printed; fails with that if its exit code is not 0."""
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    assert process.returncode == 0, output
    return output


def kill(process: subprocess.Popen[str]) -> None:
    """Send SIGKILL and wait for the end."""
    process.kill()
    process.communicate()


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
