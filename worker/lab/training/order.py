"""What an epoch trains on, and in which order: a function of recipe, data and epoch alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.lab.dataset.patches import Patches
from worker.lab.training.recipe import Recipe

Order = NDArray[np.int64]
"""[tiles, 2]: the number of the patch, and the number that its augmentation is seeded with."""


def epoch_order(recipe: Recipe, patches: Patches, epoch: int) -> Order:
    """All tiles of one epoch.

    A shuffle of all patches; a draw without regard to class, or by the recipe's shares, if it says how many tiles; or,
    with `pairs`, a draw of pictures that each come in all classes, their tiles side by side and augmented alike.
    """
    random = np.random.default_rng([recipe.seed, epoch])
    if recipe.pairs:
        return _by_picture(recipe, patches, random)
    labels = patches.labels
    if not recipe.tiles_per_epoch:
        order = random.permutation(len(labels))
    elif not recipe.shares:
        order = random.choice(len(labels), recipe.tiles_per_epoch)
    else:
        shares = np.array([recipe.shares[name] for name in recipe.classes])
        each = (shares / shares.sum() / np.bincount(labels, minlength=len(shares)))[labels]
        order = random.choice(len(labels), recipe.tiles_per_epoch, p=each / each.sum())
    return np.stack([order, np.arange(len(order))], axis=1)


def steps_of(order: Order, batch: int, processes: int) -> list[Order]:
    """The batches of an epoch. A last one too small for two tiles a process is left out: batch normalization cannot
    train on a single tile."""
    steps = [order[start : start + batch] for start in range(0, len(order), batch)]
    if len(steps) > 1 and len(steps[-1]) < 2 * processes:
        steps.pop()
    return steps


def _by_picture(recipe: Recipe, patches: Patches, random: np.random.Generator) -> Order:
    """Two authentic tiles and one of each other class per picture, from one place where there is such a patch."""
    labels, pictures, corners = patches.labels, patches.pictures, patches.corners
    slots = [0, *range(len(recipe.classes))]
    authentic = np.flatnonzero(labels == 0)
    order: list[tuple[int, int]] = []
    for seed in range((recipe.tiles_per_epoch or len(labels)) // len(slots)):
        first = random.choice(authentic)
        same_picture = pictures == pictures[first]
        same_place = same_picture & (corners == corners[first]).all(axis=1)
        for label in slots:
            of_class = labels == label
            for candidates in (same_place & of_class, same_picture & of_class, of_class):
                if candidates.any():
                    order.append((int(random.choice(np.flatnonzero(candidates))), seed))
                    break
    return np.array(order, np.int64)
