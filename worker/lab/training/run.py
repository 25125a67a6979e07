"""A training run: the network, the optimizer, the progress so far, and the checkpoint that holds all of it.

Everything random in a run is drawn from its seed, epoch and step (`worker.lab.training.batches`,
`worker.lab.training.epoch`), so that the position in the run is also the position of every generator.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from worker.detector.model import SuSy
from worker.detector.weights import load_weights
from worker.errors import ConfigurationError, ErrorCode, SetupError
from worker.files import write_atomically
from worker.lab.training.carbon import Energy
from worker.lab.training.distributed import ProcessGroup, data_parallel, synchronize_batch_norm
from worker.lab.training.initial import prepare_start
from worker.lab.training.recipe import Recipe, refuse

COSINE_FLOOR = 0.01
"""The part of the learning rate that the cosine schedule ends at."""
CHECKPOINT_FORMAT = 2
_MACHINE_KEYS = {"data", "out", "device", "threads", "loaders", "checkpoint_every", "carbon", "notes"}
"""Keys that may change before a run is resumed: they say where and how it runs, not what it computes. The data itself
is compared by its fingerprint."""


@dataclass(frozen=True)
class Epoch:
    """One line of `metrics.csv`. Losses and accuracies are means over tiles; losses are weighted by class."""

    epoch: int
    """From 1."""
    learning_rate: float
    train_loss: float
    """During training: with dropout and augmentations, while the network changes."""
    train_accuracy: float
    loss: float
    """On the validation set. Decides on the learning rate, early stopping and the weights that are kept."""
    accuracy: float
    detection_f1: float
    """F1 of synthetic against authentic over validation images: mean of 1 − p(authentic) at least 0.5."""
    seconds: float
    energy_kwh: float | None = None
    """Of the run up to the end of this epoch, if it is measured."""
    co2_kg: float | None = None
    """Of the run up to the end of this epoch, kilograms of CO₂ equivalent."""


@dataclass
class Progress:
    """How much of a run is done; plain values, so that a checkpoint can hold them."""

    step: int = 0
    """Finished steps of the current epoch."""
    loss: float = 0.0
    """Sum over the tiles of the epoch so far, over all processes."""
    correct: float = 0.0
    """How many of these tiles were classified correctly."""
    tiles: float = 0.0
    """How many tiles these are."""
    seconds: float = 0.0
    """Time spent on the current epoch."""
    best_loss: float = float("inf")
    stale: int = 0
    """Epochs since the best validation loss."""
    energy: Energy = field(default_factory=Energy)
    """Energy spent on the run so far, if it is measured."""
    history: list[Epoch] = field(default_factory=list)
    """The finished epochs."""


@dataclass
class Run:
    """Everything that a checkpoint holds."""

    model: SuSy
    network: nn.Module
    """Tiles to logits: the model, with gradients averaged over all processes."""
    optimizer: torch.optim.Optimizer
    scheduler: ReduceLROnPlateau | CosineAnnealingLR
    scaler: GradScaler
    progress: Progress = field(default_factory=Progress)

    @property
    def epochs(self) -> int:
        """How many epochs are finished."""
        return len(self.progress.history)

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": asdict(self.progress),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        progress = state["progress"]
        history = [Epoch(**epoch) for epoch in progress["history"]]
        self.progress = Progress(**{**progress, "energy": Energy(**progress["energy"]), "history": history})

    def add_sums(self, sums: Tensor) -> None:
        """Add the sums of some steps, [3]: loss, correctly classified tiles, tiles."""
        loss, correct, tiles = sums.tolist()
        self.progress.loss += loss
        self.progress.correct += correct
        self.progress.tiles += tiles

    def finish_epoch(self, epoch: Epoch) -> bool:
        """Add `epoch` to the history and adapt the learning rate; whether it is the best epoch so far."""
        best = epoch.loss < self.progress.best_loss
        self.progress = Progress(
            best_loss=min(epoch.loss, self.progress.best_loss),
            stale=0 if best else self.progress.stale + 1,
            energy=self.progress.energy,
            history=[*self.progress.history, epoch],
        )
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(epoch.loss)
        else:
            self.scheduler.step()
        return best


def new_run(recipe: Recipe, group: ProcessGroup) -> Run:
    """A run at its beginning.

    Raises `ConfigurationError` when the recipe's `start` is not a weights file of the recipe's classes, or when float16
    is asked for without a GPU.
    """
    if recipe.precision == "float16" and group.device.type != "cuda":
        refuse("precision", 'float16 needs a GPU; use "bfloat16" or "float32"')
    torch.manual_seed(recipe.seed)
    model = _new_model(recipe)
    model.dropout.p = recipe.dropout
    if recipe.precision != "float32":
        keep_first_in_float32(model)
    model = synchronize_batch_norm(model, group).to(group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Weight decay stays 0: the card trains without. Fused, a step of Adam reads and writes each number once.
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, fused=True)
    scheduler: ReduceLROnPlateau | CosineAnnealingLR
    if recipe.schedule == "plateau":
        scheduler = ReduceLROnPlateau(optimizer, factor=recipe.plateau_factor, patience=recipe.plateau_patience)
    else:
        scheduler = CosineAnnealingLR(optimizer, recipe.epochs, eta_min=recipe.learning_rate * COSINE_FLOOR)
    # Keeps the small gradients of float16 from vanishing; the other types need no scaling.
    scaler = GradScaler("cuda", enabled=recipe.precision == "float16")
    return Run(model, data_parallel(model, group), optimizer, scheduler, scaler)


def keep_first_in_float32(model: SuSy) -> None:
    """Exempt the first convolution from mixed precision: half the bits of a level in 0..1 lose the faintest traces."""
    forward = model.conv1.forward

    def in_float32(input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return forward(input.float())

    model.conv1.forward = in_float32  # type: ignore[method-assign]


def checkpoint_file(recipe: Recipe) -> Path:
    """Where the run's latest checkpoint is."""
    return recipe.out / "checkpoint.pt"


def save_checkpoint(recipe: Recipe, data: str, state: dict[str, Any]) -> None:
    """Make `state` the run's latest checkpoint; `data` is the data's fingerprint.

    The previous checkpoint is replaced only when the new one is complete on the disk. Raises `ConfigurationError`
    (`disk_full`) otherwise.
    """
    buffer = io.BytesIO()
    torch.save({"format": CHECKPOINT_FORMAT, "recipe": _digest(recipe), "data": data, "state": state}, buffer)
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
        version, recipe_digest, data_digest, state = (saved[key] for key in ("format", "recipe", "data", "state"))
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise _unusable(path, "is damaged or of another version; remove it to start again") from error
    if version != CHECKPOINT_FORMAT:
        raise _unusable(path, "is of another version; remove it to start again")
    if recipe_digest != _digest(recipe):
        raise _unusable(path, "is of another recipe; name another folder as `out`, or remove it to start again")
    if data_digest != data:
        raise _unusable(path, "is of other data; restore the data, or name another folder as `out`")
    return dict(state)


def _new_model(recipe: Recipe) -> SuSy:
    if recipe.start is None:
        model = SuSy(len(recipe.classes))
        if recipe.prepared_start:
            prepare_start(model)
        return model
    model, info = load_weights(recipe.start)
    if info.classes != recipe.classes:
        found, expected = ", ".join(info.classes), ", ".join(recipe.classes)
        refuse("start", f"{recipe.start} has the classes {found}, but `classes` are {expected}; use other weights")
    model.temperature = 1.0  # it was fitted to the logits of these weights, which will change
    return model


def _digest(recipe: Recipe) -> str:
    """Equal for recipes that compute the same."""
    values = recipe.model_dump(exclude=_MACHINE_KEYS)
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _unusable(path: Path, reason: str) -> SetupError:
    return ConfigurationError(ErrorCode.RECIPE_INVALID, f"checkpoint {path} {reason}")
