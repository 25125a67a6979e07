"""The training loop: epochs, validation, a falling learning rate, early stopping, and a checkpoint per epoch.

A run that was interrupted, at whatever moment, resumes from its latest checkpoint when it is started again.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worker.detector.model import SuSy
from worker.detector.weights import load_weights, save_weights
from worker.files import remove_partial_files
from worker.lab.training.batches import epoch_order, split_into_steps, training_batches
from worker.lab.training.carbon import Reading, metered
from worker.lab.training.data import Data, load_data
from worker.lab.training.distributed import ProcessGroup, broadcast_statistics, process_group
from worker.lab.training.epoch import cross_entropy, detection_f1, is_checkpoint, predict, train_steps
from worker.lab.training.logs import Logs, Terminal, summary_line
from worker.lab.training.recipe import Recipe, refuse
from worker.lab.training.resident import ResidentPatches
from worker.lab.training.run import Epoch, Run, load_checkpoint, new_run, save_checkpoint

LOADERS_ON_GPU = 8
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, eq=False)
class Session:
    """One process's training."""

    recipe: Recipe
    data: Data
    run: Run
    group: ProcessGroup
    resident: ResidentPatches | None = None
    """The training patches on the network's device, where the recipe asks for it."""

    @property
    def is_finished(self) -> bool:
        """Whether no epoch is left to train."""
        return self.run.epochs >= self.recipe.epochs or self.run.progress.stale >= self.recipe.early_stopping


def fit(recipe: Recipe, *, max_pixels: int, memory: int | None = None) -> Path:
    """Train by the recipe and return the weights file of the epoch with the best validation loss.

    Writes into `recipe.out`: the weights, `checkpoint.pt`, `metrics.csv`, `tensorboard/` and the cut `patches/`.
    Images of more than `max_pixels` pixels are refused; while they are cut, those in flight take `memory` bytes at
    once, by default half of the machine's. Raises `SetupError` naming the key, the class, the image or the file that is
    wrong.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    with process_group(recipe.device) as group:
        torch.backends.cudnn.benchmark = group.device.type == "cuda"  # all batches but an epoch's last are of one size
        terminal = Terminal(quiet=not group.is_main)
        _make_folder(recipe)
        data = load_data(recipe, group, max_pixels=max_pixels, memory=memory)
        _print_what_is_left_out(data, terminal)
        session = _begin(recipe, data, group, terminal)
        with (
            metered(recipe.carbon if group.is_main else "") as reading,
            closing(Logs(recipe.out, session.run.progress.history, terminal, enabled=group.is_main)) as logs,
        ):
            before = session.run.progress.energy
            while not session.is_finished:
                _train_epoch(session, terminal, logs, lambda: before + reading() if reading else before)
        if group.is_main:
            _complete_provenance(session)
        return recipe.out / WEIGHTS


def _make_folder(recipe: Recipe) -> None:
    try:
        recipe.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse("out", f"{recipe.out} cannot be made a folder ({error.strerror}); name another")


def _begin(recipe: Recipe, data: Data, group: ProcessGroup, terminal: Terminal) -> Session:
    run = new_run(recipe, group)
    state = load_checkpoint(recipe, data.fingerprint)
    if state is not None:
        run.restore(state)
        terminal.print(f"resuming after {run.epochs} epochs and {run.progress.step} steps")
    group.barrier()  # no process may write a checkpoint before all have read theirs
    if group.is_main:
        remove_partial_files(recipe.out)
    resident = ResidentPatches(recipe, data.train, group.device) if recipe.resident else None
    return Session(recipe, data, run, group, resident)


def _train_epoch(session: Session, terminal: Terminal, logs: Logs, energy: Reading) -> None:
    """Train and validate once, and write the results."""
    recipe, data, run, group = session.recipe, session.data, session.run, session.group
    rate, began = run.learning_rate, time.monotonic() - run.progress.seconds
    number = run.epochs + 1
    _train(session, terminal, f"epoch {number} of {recipe.epochs}", began, energy)
    broadcast_statistics(run.model, group)
    probabilities = predict(recipe, run, data.validation, group)
    labels = data.validation.labels
    run.progress.energy = energy()
    spent = asdict(run.progress.energy) if recipe.carbon else {"kwh": None, "co2_kg": None}
    epoch = Epoch(
        epoch=number,
        learning_rate=rate,
        train_loss=run.progress.loss / run.progress.tiles,
        train_accuracy=run.progress.correct / run.progress.tiles,
        loss=cross_entropy(probabilities, labels, data.class_weights),
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        detection_f1=detection_f1(probabilities[:, 0], data.validation),
        seconds=time.monotonic() - began,
        energy_kwh=spent["kwh"],
        co2_kg=spent["co2_kg"],
    )
    if not math.isfinite(epoch.train_loss + epoch.loss):
        refuse("learning_rate", f"{rate} makes the loss of epoch {number} NaN or infinite; lower it")
    is_best = run.finish_epoch(epoch)
    if group.is_main:
        # The weights come first: a run that is killed in between repeats the epoch, and writes the same again.
        if is_best:
            _save_weights(session, run.model, epoch)
        save_checkpoint(recipe, data.fingerprint, run.state())
    logs.write(run.progress.history)
    terminal.print(summary_line(epoch))


def _train(session: Session, terminal: Terminal, title: str, began: float, energy: Reading) -> None:
    """The remaining training steps of the epoch."""
    recipe, data, run, group = session.recipe, session.data, session.run, session.group
    steps = split_into_steps(epoch_order(recipe, data.train, run.epochs), recipe.batch, group.size)
    remaining = steps[run.progress.step :]
    if session.resident is not None:
        batches = session.resident.batches(
            remaining, epoch=run.epochs, class_weights=data.class_weights, rank=group.rank, processes=group.size
        )
    else:
        batches = training_batches(
            recipe,
            data.train,
            remaining,
            epoch=run.epochs,
            class_weights=data.class_weights,
            rank=group.rank,
            processes=group.size,
            loaders=_loaders(recipe, group),
        )
    with terminal.progress(title, len(steps), run.progress.step) as advance:

        def after_step() -> None:
            advance()
            if is_checkpoint(recipe, run.progress.step) and group.is_main:
                run.progress.seconds = time.monotonic() - began
                run.progress.energy = energy()
                save_checkpoint(recipe, data.fingerprint, run.state())

        train_steps(recipe, run, group, steps, batches, after_step)


def _save_weights(session: Session, model: SuSy, best: Epoch) -> None:
    recipe = session.recipe
    save_weights(
        recipe.out / WEIGHTS,
        model,
        name=recipe.name,
        version="1",
        classes=recipe.classes,
        provenance=_provenance(session, best),
    )


def _complete_provenance(session: Session) -> None:
    """Update the time and energy in the best epoch's weights file to those of the whole run."""
    model, info = load_weights(session.recipe.out / WEIGHTS)
    best = min(session.run.progress.history, key=lambda epoch: epoch.loss)
    complete = _provenance(session, best)
    if info.provenance["training"] != json.loads(json.dumps(complete["training"])):
        _save_weights(session, model, best)


def _provenance(session: Session, best: Epoch) -> dict[str, Any]:
    """The recipe, the data, the figures of the best epoch, and the time and energy spent.

    It has no paths: the place of files on one machine says nothing about the weights.
    """
    recipe, data, run, device = session.recipe, session.data, session.run, session.group.device
    tiles = {"train": data.train.labels, "val": data.validation.labels}
    return {
        "recipe": {
            **recipe.model_dump(exclude={"data", "out", "start"}),
            "started_from_weights": recipe.start is not None,
        },
        "data": {
            "fingerprint": data.fingerprint,
            "images": data.images,
            "tiles": {
                split: np.bincount(labels, minlength=len(recipe.classes)).tolist() for split, labels in tiles.items()
            },
        },
        "metrics": {key: value for key, value in asdict(best).items() if value is not None},
        "training": {
            "epochs": run.epochs,
            "seconds": round(sum(epoch.seconds for epoch in run.progress.history), 1),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "processes": session.group.size,
            **({"energy": {**asdict(run.progress.energy), "country": recipe.carbon}} if recipe.carbon else {}),
        },
        "versions": {
            "python": platform.python_version(),
            "susy-worker": _version("susy-worker"),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _loaders(recipe: Recipe, group: ProcessGroup) -> int:
    """Threads that prepare batches. One is enough on a CPU, where each more would take time from the network."""
    if recipe.loaders or group.device.type == "cpu":
        return recipe.loaders or 1
    return max(1, min(LOADERS_ON_GPU, len(os.sched_getaffinity(0)) // group.size - 1))


def _print_what_is_left_out(data: Data, terminal: Terminal) -> None:
    if data.ignored:
        terminal.print(f"left out: classes of the data that the recipe does not name: {', '.join(data.ignored)}")
    if data.left_out:
        terminal.print(f"left out: {data.left_out} images that are smaller than a patch")
