"""A run in the middle of its training: the network, the optimizer, and how far it has come."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from worker.detector.model import SuSy
from worker.detector.weights import load_weights
from worker.lab.training.carbon import Energy
from worker.lab.training.distributed import ProcessGroup, synchronized, trainable
from worker.lab.training.epoch import Epoch
from worker.lab.training.initial import prepare_start
from worker.lab.training.precision import gradient_scaler
from worker.lab.training.recipe import Recipe, refuse

COSINE_FLOOR = 0.01
"""What the cosine schedule leaves of the learning rate at the end."""


@dataclass
class Progress:
    """How far a run has come; plain values, so that a checkpoint can hold them."""

    step: int = 0
    """Steps done of the epoch that runs."""
    loss: float = 0.0
    """Sum over the tiles of the epoch so far, over all processes."""
    right: float = 0.0
    """How many of them the network called right."""
    tiles: float = 0.0
    """How many they are."""
    seconds: float = 0.0
    """What the epoch took so far."""
    best_loss: float = float("inf")
    stale: int = 0
    """Epochs since the best validation loss."""
    energy: Energy = field(default_factory=Energy)
    """What the run took so far, if it is measured."""
    history: list[Epoch] = field(default_factory=list)
    """The finished epochs."""


@dataclass
class Run:
    """Everything a checkpoint holds."""

    model: SuSy
    network: nn.Module
    """Tiles to logits: the model, its gradients averaged over all processes."""
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
        """Go on where `state` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        progress = Progress(**state["progress"])
        self.progress = replace(
            progress,
            energy=Energy(**state["progress"]["energy"]),
            history=[Epoch(**epoch) for epoch in state["progress"]["history"]],
        )

    def count(self, sums: Tensor) -> None:
        """Add the sums of some steps, [3] of loss, tiles called right, and tiles."""
        loss, right, tiles = sums.tolist()
        self.progress.loss += loss
        self.progress.right += right
        self.progress.tiles += tiles

    def finish_epoch(self, epoch: Epoch) -> bool:
        """Take the epoch into the history; whether it is the best so far."""
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
    """A run at its beginning. Raises `SetupError` when the recipe's `start` is no weights file of these classes."""
    torch.manual_seed(recipe.seed)
    model = _model(recipe)
    model.dropout.p = recipe.dropout
    model = synchronized(model, group).to(group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Weight decay stays 0: the card trains without. Fused, a step of Adam reads and writes each number once.
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, fused=True)
    scheduler: ReduceLROnPlateau | CosineAnnealingLR
    if recipe.schedule == "plateau":
        scheduler = ReduceLROnPlateau(optimizer, factor=recipe.plateau_factor, patience=recipe.plateau_patience)
    else:
        scheduler = CosineAnnealingLR(optimizer, recipe.epochs, eta_min=recipe.learning_rate * COSINE_FLOOR)
    return Run(model, trainable(model, group), optimizer, scheduler, gradient_scaler(recipe, group.device))


def _model(recipe: Recipe) -> SuSy:
    if recipe.start is None:
        model = SuSy(len(recipe.classes))
        if recipe.prepared_start:
            prepare_start(model)
        return model
    model, info = load_weights(recipe.start)
    if info.classes != recipe.classes:
        theirs, ours = ", ".join(info.classes), ", ".join(recipe.classes)
        refuse("start", f"{recipe.start} has the classes {theirs}, and `classes` are {ours}: start from others")
    model.temperature = 1.0  # it was fitted to what these weights say now
    return model
