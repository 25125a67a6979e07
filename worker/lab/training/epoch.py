"""One epoch of a run: training steps, then predictions and figures on the validation set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from worker.lab.dataset.patches import Patches
from worker.lab.training.batches import Batch, Order, to_input, validation_batches
from worker.lab.training.distributed import ProcessGroup
from worker.lab.training.recipe import Recipe
from worker.lab.training.run import Run

_HALF_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def train_steps(
    recipe: Recipe,
    run: Run,
    group: ProcessGroup,
    steps: Sequence[Order],
    batches: Iterable[Batch],
    after_step: Callable[[], None],
) -> None:
    """Train on `batches`, the remaining ones of the epoch's `steps`; calls `after_step` after each.

    The sums in `run.progress` are up to date at every checkpoint and at the end.
    """
    run.network.train()
    if recipe.frozen_statistics:
        _freeze_statistics(run.model)
    sums = torch.zeros(3, dtype=torch.float64, device=group.device)
    for batch in batches:
        _seed(recipe.seed, run.epochs, run.progress.step, group.rank)
        loss, correct = _step(recipe, run, group, batch.to(group.device))
        # Summed on the device, so that a GPU need not wait for its figures.
        size = len(steps[run.progress.step])
        sums += torch.stack([loss.double() * size, correct.double(), torch.full_like(sums[0], len(batch.labels))])
        run.progress.step += 1
        if run.progress.step == len(steps) or is_checkpoint(recipe, run.progress.step):
            run.add_sums(group.all_reduce(sums))
            sums = torch.zeros_like(sums)
        after_step()


def is_checkpoint(recipe: Recipe, step: int) -> bool:
    """Whether a checkpoint is written after this many steps of an epoch."""
    return recipe.checkpoint_every > 0 and step % recipe.checkpoint_every == 0


@torch.inference_mode()
def predict(recipe: Recipe, run: Run, patches: Patches, group: ProcessGroup) -> NDArray[np.float32]:
    """Class probabilities of all patches, float32 [N, C], the same in every process."""
    run.model.eval()
    batch = -(-recipe.batch // group.size)
    parts = [np.empty((0, len(recipe.classes)), np.float32)]
    for tiles in validation_batches(recipe, patches, group.shard(len(patches)), batch):
        with _autocast(recipe, group.device):
            parts.append(run.model(to_input(tiles.to(group.device))).float().cpu().numpy())
    return group.all_gather(np.concatenate(parts))


def cross_entropy(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], class_weights: NDArray[np.float32]
) -> float:
    """Mean of −log p(label), each tile weighted by its class."""
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.average(-np.log(of_label.clip(1e-12)), weights=class_weights[labels]))


def detection_f1(authentic: NDArray[np.float32], patches: Patches) -> float:
    """Image-level F1 of "synthetic" at 0.5, from p(authentic) of the patches, float [N]."""
    count = np.bincount(patches.images)
    present = count > 0
    score = 1 - np.bincount(patches.images, authentic)[present] / count[present]
    synthetic = np.bincount(patches.images, patches.labels != 0)[present] > 0
    predicted = score >= 0.5
    true_positives = int((predicted & synthetic).sum())
    return 2 * true_positives / max(1, int(predicted.sum()) + int(synthetic.sum()))


def _step(recipe: Recipe, run: Run, group: ProcessGroup, batch: Batch) -> tuple[Tensor, Tensor]:
    """This process's part of the step's loss, and how many of its tiles were classified correctly."""
    with _autocast(recipe, group.device):
        logits = run.network(to_input(batch.tiles))
    losses = functional.cross_entropy(logits.float(), batch.labels, reduction="none")
    loss = (losses * batch.weights).sum()
    run.optimizer.zero_grad()
    # Gradients are averaged over the group, but the parts of the loss must be added.
    run.scaler.scale(loss * group.size).backward()
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return loss.detach(), (logits.detach().argmax(dim=1) == batch.labels).sum()


def _autocast(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision, if the recipe asks for it: convolutions and products in half the bits, the rest in float32."""
    if recipe.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, _HALF_TYPES[recipe.precision])


def _freeze_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _seed(*position: int) -> None:
    """Seed dropout by the position in the run, so that a resumed run draws what an uninterrupted one would."""
    torch.manual_seed(int(np.random.SeedSequence(position).generate_state(1, np.uint64)[0] >> 1))
