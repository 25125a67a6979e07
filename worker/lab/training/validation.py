"""What the network says of the validation set, and the figures of an epoch that follow."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from worker.lab.dataset.patches import Patches
from worker.lab.training.batches import scaled, validation_batches
from worker.lab.training.distributed import ProcessGroup
from worker.lab.training.precision import mixed
from worker.lab.training.recipe import Recipe
from worker.lab.training.state import Run


@torch.inference_mode()
def predict(recipe: Recipe, run: Run, patches: Patches, group: ProcessGroup) -> NDArray[np.float32]:
    """Class probabilities of all patches, float32 [N, C], the same in every process."""
    run.model.eval()
    batch = -(-recipe.batch // group.size)
    parts = []
    for tiles in validation_batches(recipe, patches, group.share(len(patches)), batch):
        with mixed(recipe, group.device):
            parts.append(run.model(scaled(tiles.to(group.device))).float().cpu().numpy())
    mine = np.concatenate(parts) if parts else np.empty((0, len(recipe.classes)), np.float32)
    return group.all_gather(mine)


def cross_entropy(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], class_weights: NDArray[np.float32]
) -> float:
    """Mean of −log p(label), each tile weighed by its class."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.average(-np.log(own.clip(1e-12)), weights=class_weights[labels]))


def detection_f1(authentic: NDArray[np.float32], patches: Patches) -> float:
    """Image-level F1 of "synthetic", of the patches' p(authentic), float [N]."""
    count = np.bincount(patches.images)
    present = count > 0
    score = 1 - np.bincount(patches.images, authentic)[present] / count[present]
    synthetic = np.bincount(patches.images, patches.labels != 0)[present] > 0
    called = score >= 0.5
    hits = int((called & synthetic).sum())
    return 2 * hits / max(1, int(called.sum()) + int(synthetic.sum()))
