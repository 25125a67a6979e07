"""What a weights file says of the run that made it."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from worker.lab.training.data import Data
from worker.lab.training.distributed import ProcessGroup
from worker.lab.training.epoch import Epoch
from worker.lab.training.recipe import Recipe
from worker.lab.training.state import Run


def provenance(recipe: Recipe, data: Data, run: Run, group: ProcessGroup, best: Epoch) -> dict[str, Any]:
    """The recipe, the data, the figures of the epoch that is kept, and what the run took.

    No path stands in it: where files lay on somebody's machine says nothing of the weights.
    """
    classes = len(recipe.classes)
    tiles = {"train": data.train.labels, "val": data.validation.labels}
    return {
        "recipe": plain(recipe),
        "data": {
            "fingerprint": data.fingerprint,
            "images": data.images,
            "tiles": {split: np.bincount(labels, minlength=classes).tolist() for split, labels in tiles.items()},
        },
        "metrics": {key: value for key, value in asdict(best).items() if value is not None},
        "training": {
            "epochs": run.epochs,
            "seconds": round(sum(epoch.seconds for epoch in run.progress.history), 1),
            "device": torch.cuda.get_device_name(group.device) if group.device.type == "cuda" else "cpu",
            "processes": group.size,
            **({"energy": {**asdict(run.progress.energy), "country": recipe.carbon}} if recipe.carbon else {}),
        },
        "versions": {
            "python": platform.python_version(),
            "susy-worker": _version("susy-worker"),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }


def plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe without paths."""
    values = {key: value for key, value in asdict(recipe).items() if key not in ("data", "out", "start")}
    return {**values, "started_from_weights": recipe.start is not None}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
