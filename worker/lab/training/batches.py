"""The tiles of each epoch and step, as batches prepared by background threads while the network trains.

The order of an epoch is a function of recipe, data and epoch alone, and each tile's augmentation of the recipe's seed,
the epoch and the tile's number in it. Tiles stay uint8 until they are on the network's device: a quarter of the bytes
to write and to send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.detector.contrast import GLCM_DISTANCE
from worker.lab.dataset.patches import Patches
from worker.lab.imaging import Pixels
from worker.lab.training.augment import augment, encode_again, resize_again
from worker.lab.training.recipe import Recipe

CONTRAST_TRIES = 3

Order = NDArray[np.int64]
"""[tiles, 2]: the index of the patch, and the number from which its augmentation is seeded."""


def epoch_order(recipe: Recipe, patches: Patches, epoch: int) -> Order:
    """All tiles of one epoch.

    A shuffle of all patches; or, if the recipe sets a number of tiles, a draw without regard to class or by the
    recipe's shares; or, with `pairs`, a draw of pictures, each in all classes, their tiles side by side and augmented
    alike.
    """
    random = np.random.default_rng([recipe.seed, epoch])
    if recipe.pairs:
        return _paired_order(recipe, patches, random)
    labels = patches.labels
    if not recipe.tiles_per_epoch:
        order = random.permutation(len(labels))
    elif not recipe.shares:
        order = random.choice(len(labels), recipe.tiles_per_epoch)
    else:
        shares = np.array([recipe.shares[name] for name in recipe.classes])
        probabilities = (shares / shares.sum() / np.bincount(labels, minlength=len(shares)))[labels]
        order = random.choice(len(labels), recipe.tiles_per_epoch, p=probabilities / probabilities.sum())
    return np.stack([order, np.arange(len(order))], axis=1)


def split_into_steps(order: Order, batch: int, processes: int) -> list[Order]:
    """The steps of an epoch. A last step with fewer than two tiles per process is left out: batch normalization cannot
    train on a single tile."""
    steps = [order[start : start + batch] for start in range(0, len(order), batch)]
    if len(steps) > 1 and len(steps[-1]) < 2 * processes:
        steps.pop()
    return steps


@dataclass(frozen=True, eq=False)
class Batch:
    """One process's part of a step."""

    tiles: Tensor
    """uint8 [B, 3, crop, crop], channels last in memory."""
    labels: Tensor
    """int64 [B]."""
    weights: Tensor
    """float32 [B]: the weight of each tile in the loss; they sum to 1 over all processes."""

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in (self.tiles, self.labels, self.weights)))


def training_batches(
    recipe: Recipe,
    patches: Patches,
    steps: Sequence[Order],
    *,
    epoch: int,
    class_weights: NDArray[np.float32],
    rank: int = 0,
    processes: int = 1,
    loaders: int = 1,
) -> Iterator[Batch]:
    """The batches on which the process `rank` of `processes` trains in the given steps of an epoch.

    The same arguments give the same batches, whatever the number of `loaders`, the threads that prepare them.
    """

    def prepare(step: Order) -> Batch:
        weights = class_weights[patches.labels[step[:, 0]]]
        part = np.array_split(np.arange(len(step)), processes)[rank]
        tiles = np.empty((len(part), recipe.crop, recipe.crop, 3), np.uint8)
        for tile, (index, seed) in zip(tiles, step[part].tolist(), strict=True):
            tile[:] = _training_tile(recipe, patches.pixels[index], np.random.default_rng([recipe.seed, epoch, seed]))
        return Batch(
            _channels_first(tiles),
            torch.from_numpy(patches.labels[step[part, 0]]),
            torch.from_numpy((weights / weights.sum())[part]),
        )

    with ThreadPoolExecutor(loaders, thread_name_prefix="loader") as pool:
        pending: deque[Future[Batch]] = deque()
        try:
            for step in steps:
                pending.append(pool.submit(prepare, step))
                if len(pending) > loaders:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def validation_batches(recipe: Recipe, patches: Patches, indices: NDArray[np.int64], batch: int) -> Iterator[Tensor]:
    """The central crops of the patches at `indices`, in order: uint8 [B, 3, crop, crop]."""
    for start in range(0, len(indices), batch):
        part = indices[start : start + batch]
        yield _channels_first(np.stack([center_crop(patches.pixels[index], recipe.crop) for index in part]))


def to_input(tiles: Tensor) -> Tensor:
    """The network's input, float32 in 0..1, of tiles uint8."""
    return tiles.float().div_(255)


def center_crop(patch: Pixels, size: int) -> Pixels:
    """The central `size` × `size` pixels of a patch uint8 [H, W, 3]."""
    y, x = ((side - size) // 2 for side in patch.shape[:2])
    return patch[y : y + size, x : x + size]


def _paired_order(recipe: Recipe, patches: Patches, random: np.random.Generator) -> Order:
    """Two authentic tiles and one of each other class per picture, from the same position where there is a patch."""
    labels, pictures, corners = patches.labels, patches.pictures, patches.corners
    slots = [0, *range(len(recipe.classes))]
    authentic = np.flatnonzero(labels == 0)
    order: list[tuple[int, int]] = []
    for seed in range((recipe.tiles_per_epoch or len(labels)) // len(slots)):
        first = random.choice(authentic)
        same_picture = pictures == pictures[first]
        same_position = same_picture & (corners == corners[first]).all(axis=1)
        for label in slots:
            of_class = labels == label
            for candidates in (same_position & of_class, same_picture & of_class, of_class):
                if candidates.any():
                    order.append((int(random.choice(np.flatnonzero(candidates))), seed))
                    break
    return np.array(order, np.int64)


def _channels_first(tiles: Pixels) -> Tensor:
    """[B, S, S, 3] as a view [B, 3, S, S], which is then in channels-last order."""
    return torch.from_numpy(tiles).permute(0, 3, 1, 2)


def _training_tile(recipe: Recipe, patch: Pixels, random: np.random.Generator) -> Pixels:
    if recipe.resize and random.random() < recipe.resize:
        patch = resize_again(patch, recipe.crop, random)
    if recipe.encode and random.random() < recipe.encode:
        patch = encode_again(patch, random, recipe.encode_quality)
    if recipe.crop_at == "center":
        tile = center_crop(patch, recipe.crop)
    else:
        tries = CONTRAST_TRIES if recipe.crop_at == "contrast" else 1
        tile = max((_random_crop(patch, recipe.crop, random) for _ in range(tries)), key=_contrast)
    return augment(tile, random, recipe.augment)


def _random_crop(patch: Pixels, size: int, random: np.random.Generator) -> Pixels:
    y, x = (int(random.integers(side - size + 1)) for side in patch.shape[:2])
    return patch[y : y + size, x : x + size]


def _contrast(tile: Pixels) -> float:
    """The GLCM contrast of the green channel, which approximates that of the gray levels."""
    green = tile[..., 1].astype(np.float32)
    return float(np.square(green[:, GLCM_DISTANCE:] - green[:, :-GLCM_DISTANCE]).mean())
