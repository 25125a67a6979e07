"""Checkpoints: all that a run needs to go on as if it had never stopped.

What is random in a run is drawn from its seed, epoch and step
(`worker.lab.training.batches`, `worker.lab.training.step`), so the position in the run is also the position of every
generator.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from worker.errors import ConfigurationError, ErrorCode, SetupError
from worker.files import write_atomically
from worker.lab.training.recipe import Recipe

FORMAT = 1
_OF_THE_MACHINE = ("data", "out", "device", "threads", "loaders", "checkpoint_every", "carbon", "notes")
"""Keys that may change before a run goes on: where and how it runs, not what it computes. (The data itself is compared
by its fingerprint.)"""


def checkpoint_file(recipe: Recipe) -> Path:
    """Where the run's latest checkpoint lies."""
    return recipe.out / "checkpoint.pt"


def save_checkpoint(recipe: Recipe, data: str, state: Mapping[str, Any]) -> None:
    """Make `state` the run's latest checkpoint; `data` is the data's fingerprint.

    The one before is replaced only when the new one lies whole on the disk. Raises `ConfigurationError` (`disk_full`)
    otherwise.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "recipe": digest(recipe), "data": data, "state": dict(state)}, buffer)
    write_atomically(checkpoint_file(recipe), buffer.getbuffer())


def load_checkpoint(recipe: Recipe, data: str) -> dict[str, Any] | None:
    """The state of the run's latest checkpoint, on the CPU; None when there is none.

    Raises `ConfigurationError` (`recipe_invalid`) for a checkpoint of another recipe or other data, or a damaged one.
    """
    path = checkpoint_file(recipe)
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        known = saved["format"] == FORMAT
        made_by, made_of, state = saved["recipe"], saved["data"], dict(saved["state"])
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise _unusable(path, "is damaged or of another version; remove it to start again") from error
    if not known:
        raise _unusable(path, "is of another version; remove it to start again")
    if made_by != digest(recipe):
        raise _unusable(path, "is of another recipe; name another folder as `out`, or remove it to start again")
    if made_of != data:
        raise _unusable(path, "is of other data; restore the data, or name another folder as `out`")
    return state


def digest(recipe: Recipe) -> str:
    """What tells two recipes apart as far as the training itself goes."""
    values = {key: value for key, value in asdict(recipe).items() if key not in _OF_THE_MACHINE}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _unusable(path: Path, why: str) -> SetupError:
    return ConfigurationError(ErrorCode.RECIPE_INVALID, f"checkpoint {path} {why}")
