"""Training as people start it: a recipe file, and a process of its own."""

import csv
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worker.lab.training.recipe import Recipe

PATIENCE = 800
"""Seconds; a busy machine takes minutes to load PyTorch."""
ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def write_recipe(recipe: Recipe) -> Path:
    """The recipe as a TOML file beside its output."""
    recipe.out.mkdir(parents=True, exist_ok=True)
    path = recipe.out / "recipe.toml"
    values = {key: value for key, value in asdict(recipe).items() if value is not None and value != {}}
    path.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in values.items()))
    return path


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """A Python process of this environment; standard error goes with standard output."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What it printed; fails with that if it did not end well."""
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    assert process.returncode == 0, output
    return output


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9, in the middle of whatever it does."""
    process.kill()
    process.communicate()


def curve(out: Path) -> list[dict[str, str]]:
    """The table of a run, but for the time it took."""
    with (out / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return repr(value) if isinstance(value, int | float) else f'"{value}"'
