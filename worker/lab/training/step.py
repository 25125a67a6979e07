"""Training itself: one optimizer step a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.lab.training.batches import Batch, scaled
from worker.lab.training.distributed import ProcessGroup
from worker.lab.training.order import Order
from worker.lab.training.precision import mixed
from worker.lab.training.recipe import Recipe
from worker.lab.training.state import Run


def train(
    recipe: Recipe,
    run: Run,
    group: ProcessGroup,
    steps: Sequence[Order],
    batches: Iterable[Batch],
    after: Callable[[], None],
) -> None:
    """Train on `batches`, the rest of the epoch's `steps`, from where the run stands; calls `after` every step.

    What happened is counted in `run.progress` at every checkpoint and at the end.
    """
    run.network.train()
    if recipe.frozen_statistics:
        _freeze_statistics(run.model)
    sums = torch.zeros(3, dtype=torch.float64, device=group.device)
    for batch in batches:
        _seed(recipe.seed, run.epochs, run.progress.step, group.rank)
        loss, right = _step(recipe, run, group, batch.to(group.device))
        # On the device, so that a GPU need not wait for its figures.
        size = len(steps[run.progress.step])
        sums += torch.stack([loss.double() * size, right.double(), torch.full_like(sums[0], len(batch.labels))])
        run.progress.step += 1
        if run.progress.step == len(steps) or is_checkpoint(recipe, run.progress.step):
            run.count(group.total(sums))
            sums = torch.zeros_like(sums)
        after()


def is_checkpoint(recipe: Recipe, step: int) -> bool:
    """Whether a checkpoint is kept after this many steps of an epoch."""
    return recipe.checkpoint_every > 0 and step % recipe.checkpoint_every == 0


def _step(recipe: Recipe, run: Run, group: ProcessGroup, batch: Batch) -> tuple[Tensor, Tensor]:
    """This process's part of the step's loss, and how many of its tiles the network called right."""
    with mixed(recipe, group.device):
        logits = run.network(scaled(batch.tiles))
    losses = functional.cross_entropy(logits.float(), batch.labels, reduction="none")
    loss = (losses * batch.weights).sum()
    run.optimizer.zero_grad()
    # Gradients are averaged over the group, but the parts of the loss belong added.
    run.scaler.scale(loss * group.size).backward()
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return loss.detach(), (logits.detach().argmax(dim=1) == batch.labels).sum()


def _freeze_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _seed(*position: int) -> None:
    """Let dropout draw from the position in the run, so that a run that goes on draws what an unbroken one would."""
    torch.manual_seed(int(np.random.SeedSequence(position).generate_state(1, np.uint64)[0] >> 1))
