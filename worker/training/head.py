"""Training the MLP alone, on features the rest of the network computes once.

The features of a patch do not change while only the MLP learns, so hundreds of epochs cost less than one epoch of the
whole network. Each feature is standardized over the training set; what that subtracts and divides by is folded into the
first layer, so the finished network is an ordinary one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from worker.detector.model import SuSy
from worker.training.batches import Batch, validation_batches
from worker.dataset.patches import Patches
from worker.training.recipe import Recipe

PASSES = 200
"""Epochs over the cached features at most; the one with the best validation loss is kept."""
BATCH = 64
WEIGHT_DECAY = 1e-2


def fit_head(recipe: Recipe, model: SuSy, train: Patches, validation: Patches) -> float:
    """Train `model`'s MLP further, in place; returns the best validation loss (mean over patches)."""
    torch.manual_seed(recipe.seed)
    features, labels = _features(model, validation_batches(recipe, train), len(train), recipe.batch)
    checks, truth = _features(model, validation_batches(recipe, validation), len(validation), recipe.batch)
    mean, deviation = features.mean(dim=0), features.std(dim=0) + 1e-6
    features, checks = (features - mean) / deviation, (checks - mean) / deviation

    with torch.no_grad():
        model.fc1.bias.add_(model.fc1.weight @ mean)
        model.fc1.weight.mul_(deviation)

    head = nn.Sequential(
        model.fc1, nn.ReLU(), nn.Dropout(recipe.dropout), model.fc2, nn.ReLU(), nn.Dropout(recipe.dropout), model.fc3
    )
    weights = _class_weights(recipe, labels)
    optimizer = torch.optim.AdamW(head.parameters(), recipe.learning_rate, weight_decay=WEIGHT_DECAY)
    best_loss, best = _loss(head, checks, truth, weights), copy.deepcopy(head.state_dict())
    console = Console()
    console.print(f"validation {best_loss:.4f} before")
    for _ in track(range(PASSES), "training the MLP"):
        head.train()
        for part in torch.randperm(len(labels)).split(BATCH):
            loss = nn.functional.cross_entropy(head(features[part]), labels[part], weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if (now := _loss(head, checks, truth, weights)) < best_loss:
            best_loss, best = now, copy.deepcopy(head.state_dict())
    console.print(f"validation {best_loss:.4f} after")

    head.load_state_dict(best)
    with torch.no_grad():
        model.fc1.weight.div_(deviation)
        model.fc1.bias.sub_(model.fc1.weight @ mean)
    return best_loss


@torch.no_grad()
def _loss(head: nn.Sequential, features: Tensor, labels: Tensor, weights: Tensor) -> float:
    return nn.functional.cross_entropy(head.eval()(features), labels, weights).item()


@torch.no_grad()
def _features(model: SuSy, batches: Iterable[Batch], count: int, batch: int) -> tuple[Tensor, Tensor]:
    """Features float32 [N, 512] and labels int64 [N]."""
    model.eval()
    parts = [(model.features(tiles), labels) for tiles, labels in track(batches, "features", total=-(-count // batch))]
    return torch.cat([part for part, _ in parts]), torch.cat([labels for _, labels in parts])


def _class_weights(recipe: Recipe, labels: Tensor) -> Tensor:
    """What makes each class count by its share (by the same share, if the recipe names none), float32 [C]."""
    counts = torch.bincount(labels, minlength=len(recipe.classes)).float()
    shares = torch.tensor([recipe.shares.get(name, 1.0) for name in recipe.classes])
    weights = shares / shares.sum() * counts.sum() / counts
    return weights.float()
