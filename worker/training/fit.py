"""The training loop: cross-entropy, Adam, a falling learning rate, early stopping, and a checkpoint each epoch.

A run that was stopped goes on from its last finished epoch when it is started again with the same recipe.
"""

from __future__ import annotations

import csv
import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from worker.detector.model import SuSy
from worker.detector.weights import load_weights, save_weights
from worker.errors import ErrorCode, SetupError
from worker.training.batches import Batch, training_batches, validation_batches
from worker.dataset.patches import Patches, load_patches
from worker.training.head import fit_head
from worker.training.initial import prepare_start
from worker.training.recipe import Recipe

COSINE_FLOOR = 0.01
"""What the cosine schedule leaves of the learning rate at the end."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; one line of `metrics.csv`. Losses and accuracies are means over tiles."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    loss: float
    accuracy: float
    detection_f1: float
    """F1 of synthetic against authentic over validation images: mean of 1 − p(authentic) at least 0.5."""
    seconds: float


@dataclass
class Run:
    """Everything a checkpoint holds: the network, the optimizer, and how far training has come."""

    model: SuSy
    optimizer: torch.optim.Optimizer
    scheduler: ReduceLROnPlateau | CosineAnnealingLR
    epochs: int = 0
    best_loss: float = float("inf")
    stale: int = 0
    """Epochs since the best validation loss."""

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epochs": self.epochs,
            "best_loss": self.best_loss,
            "stale": self.stale,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epochs, self.best_loss, self.stale = state["epochs"], state["best_loss"], state["stale"]


def fit(recipe: Recipe) -> Path:
    """Train as the recipe says and return the weights file of the epoch with the best validation loss.

    Writes into `recipe.out`: `weights.safetensors`, `metrics.csv`, `checkpoint.pt` and the cut patches.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    recipe.out.mkdir(parents=True, exist_ok=True)
    train, validation = load_patches(recipe, "train"), load_patches(recipe, "val")
    run = _begin(recipe)
    weights = recipe.out / "weights.safetensors"
    if recipe.head_only:
        loss = fit_head(recipe, run.model, train, validation)
        _save_best(weights, recipe, run.model, {"loss": loss}, train)
        return weights
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task(recipe.name)
        while run.epochs < recipe.epochs and run.stale < recipe.early_stopping:
            tiles = recipe.tiles_per_epoch or len(train)
            name = f"epoch {run.epochs + 1} of {recipe.epochs}"
            progress.reset(task, total=-(-tiles // recipe.batch), description=name)
            batches = progress.track(training_batches(recipe, train, run.epochs), task_id=task)
            epoch = _one_epoch(recipe, run, batches, validation)
            run.epochs += 1
            if epoch.loss < run.best_loss:
                run.best_loss, run.stale = epoch.loss, 0
                _save_best(weights, recipe, run.model, asdict(epoch), train)
            else:
                run.stale += 1
            _append_metrics(recipe.out / "metrics.csv", epoch)
            _save_checkpoint(recipe, run)
            progress.console.print(
                f"epoch {epoch.epoch}: loss {epoch.train_loss:.4f}, validation {epoch.loss:.4f}, "
                f"accuracy {epoch.accuracy:.3f}, detection F1 {epoch.detection_f1:.3f}, {epoch.seconds:.0f} s"
            )
    return weights


def _begin(recipe: Recipe) -> Run:
    torch.manual_seed(recipe.seed)
    if recipe.start is None:
        model = SuSy(len(recipe.classes))
        if recipe.prepared_start:
            prepare_start(model)
    else:
        model, info = load_weights(recipe.start)
        if info.classes != recipe.classes:
            raise SetupError(ErrorCode.SETTINGS, f"`start` {recipe.start} has other classes than the recipe")
    model.dropout.p = recipe.dropout
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Weight decay stays 0: the card trains without.
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    scheduler: ReduceLROnPlateau | CosineAnnealingLR
    if recipe.schedule == "plateau":
        scheduler = ReduceLROnPlateau(optimizer, factor=recipe.plateau_factor, patience=recipe.plateau_patience)
    else:
        scheduler = CosineAnnealingLR(optimizer, recipe.epochs, eta_min=recipe.learning_rate * COSINE_FLOOR)
    run = Run(model, optimizer, scheduler)
    checkpoint = _checkpoint_file(recipe)
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        if state.pop("recipe") != _digest(recipe):
            raise SetupError(
                ErrorCode.SETTINGS, f"`out` {recipe.out} holds a run of another recipe; name another folder"
            )
        run.restore(state)
    return run


def _one_epoch(recipe: Recipe, run: Run, batches: Iterable[Batch], validation: Patches) -> Epoch:
    began = time.monotonic()
    # Dropout draws from here, so a resumed run repeats what an unbroken one would have done.
    torch.manual_seed(recipe.seed + run.epochs)
    rate = float(run.optimizer.param_groups[0]["lr"])
    loss, accuracy = _train(run, batches)
    probabilities = _predict(run.model, validation_batches(recipe, validation))
    own = probabilities[np.arange(len(validation)), validation.labels]
    validation_loss = float(-np.log(own.clip(1e-12)).mean())
    if isinstance(run.scheduler, ReduceLROnPlateau):
        run.scheduler.step(validation_loss)
    else:
        run.scheduler.step()
    return Epoch(
        epoch=run.epochs + 1,
        learning_rate=rate,
        train_loss=loss,
        train_accuracy=accuracy,
        loss=validation_loss,
        accuracy=float((probabilities.argmax(axis=1) == validation.labels).mean()),
        detection_f1=detection_f1(probabilities[:, 0], validation),
        seconds=time.monotonic() - began,
    )


def _train(run: Run, batches: Iterable[Batch]) -> tuple[float, float]:
    run.model.train()
    losses, right, seen = 0.0, 0, 0
    for tiles, labels in batches:
        logits = run.model.logits(tiles)
        loss = nn.functional.cross_entropy(logits, labels)
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        losses += loss.item() * len(labels)
        right += int((logits.argmax(dim=1) == labels).sum())
        seen += len(labels)
    return losses / seen, right / seen


@torch.inference_mode()
def _predict(model: SuSy, batches: Iterable[Batch]) -> np.ndarray[Any, np.dtype[np.float32]]:
    model.eval()
    return np.concatenate([model(tiles).numpy() for tiles, _ in batches])


def detection_f1(authentic: np.ndarray[Any, np.dtype[np.float32]], patches: Patches) -> float:
    """Image-level F1 of "synthetic", of the tiles' p(authentic), float [N]."""
    count = np.bincount(patches.images)
    present = count > 0
    score = 1 - np.bincount(patches.images, authentic)[present] / count[present]
    synthetic = np.bincount(patches.images, patches.labels != 0)[present] > 0
    called = score >= 0.5
    hits = int((called & synthetic).sum())
    return 2 * hits / max(1, int(called.sum()) + int(synthetic.sum()))


def _save_best(path: Path, recipe: Recipe, model: SuSy, validation: Mapping[str, float], train: Patches) -> None:
    save_weights(
        path,
        model,
        name=recipe.name,
        version="1",
        classes=recipe.classes,
        provenance={
            "recipe": _plain(recipe),
            "training_tiles": np.bincount(train.labels, minlength=len(recipe.classes)).tolist(),
            "validation": dict(validation),
        },
    )


def _plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe without paths: where files lay on somebody's machine says nothing of the weights."""
    values = {key: value for key, value in asdict(recipe).items() if key not in ("data", "out", "start")}
    return {**values, "started_from_weights": recipe.start is not None}


def _checkpoint_file(recipe: Recipe) -> Path:
    return recipe.out / "checkpoint.pt"


def _save_checkpoint(recipe: Recipe, run: Run) -> None:
    path = _checkpoint_file(recipe)
    partial = path.with_suffix(".partial")
    torch.save({**run.state(), "recipe": _digest(recipe)}, partial)
    partial.replace(path)


def _digest(recipe: Recipe) -> str:
    return hashlib.sha256(repr(sorted(asdict(recipe).items())).encode()).hexdigest()


def _append_metrics(path: Path, epoch: Epoch) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(field.name for field in fields(Epoch))
        writer.writerow(f"{getattr(epoch, field.name):.6g}" for field in fields(Epoch))
