"""Batches of augmented tiles, prepared by one background thread while the network trains on the one before."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.detector.contrast import GLCM_DISTANCE
from worker.training.augment import augment, encode_again
from worker.dataset.patches import Patches
from worker.training.recipe import Recipe

CONTRAST_TRIES = 3

Batch = tuple[Tensor, Tensor]
"""Tiles float32 [B, 3, crop, crop] in 0..1, channels last in memory, and labels int64 [B]."""


def epoch_order(recipe: Recipe, patches: Patches, epoch: int) -> NDArray[np.int64]:
    """What epoch `epoch` trains on, in order: int64 [tiles, 2] of patch and random seed.

    A shuffle of all patches, a draw by the recipe's shares, or, if the recipe names pictures, a draw of pictures
    that each come in all classes, their tiles side by side and with one seed.
    """
    random = np.random.default_rng([recipe.seed, epoch])
    if recipe.picture:
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


def _by_picture(recipe: Recipe, patches: Patches, random: np.random.Generator) -> NDArray[np.int64]:
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


def training_batches(recipe: Recipe, patches: Patches, epoch: int) -> Iterator[Batch]:
    """The batches of one epoch; the same recipe and epoch give the same batches."""
    order = epoch_order(recipe, patches, epoch)
    parts = [order[start : start + recipe.batch] for start in range(0, len(order), recipe.batch)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts.pop()  # batch normalization cannot train on a single tile

    def prepare(number: int) -> Batch:
        tiles = [
            _training_tile(recipe, patches.pixels[index], np.random.default_rng([recipe.seed, epoch, seed]))
            for index, seed in parts[number].tolist()
        ]
        return to_tensor(tiles), torch.from_numpy(patches.labels[parts[number][:, 0]])

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(prepare, 0)
        for number in range(len(parts)):
            batch = ahead.result()
            if number + 1 < len(parts):
                ahead = pool.submit(prepare, number + 1)
            yield batch


def validation_batches(recipe: Recipe, patches: Patches) -> Iterator[Batch]:
    """All patches in order, cropped centrally, nothing changed."""
    for start in range(0, len(patches), recipe.batch):
        part = slice(start, start + recipe.batch)
        tiles = [center(patch, recipe.crop) for patch in patches.pixels[part]]
        yield to_tensor(tiles), torch.from_numpy(patches.labels[part])


def center(patch: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The central `size` × `size` pixels of a patch uint8 [H, W, 3]."""
    y, x = ((side - size) // 2 for side in patch.shape[:2])
    return patch[y : y + size, x : x + size]


def to_tensor(tiles: list[NDArray[np.uint8]]) -> Tensor:
    """Tiles uint8 [S, S, 3] → one float32 tensor [B, 3, S, S] in 0..1."""
    # The stack is [B, S, S, 3]; seen as [B, 3, S, S] it already is in channels-last order.
    return torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).float() / 255


def _training_tile(recipe: Recipe, patch: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    if random.random() < recipe.encode:
        patch = encode_again(patch, random)
    if recipe.crop_at == "center":
        tile = center(patch, recipe.crop)
    else:
        tries = CONTRAST_TRIES if recipe.crop_at == "contrast" else 1
        tile = max((_anywhere(patch, recipe.crop, random) for _ in range(tries)), key=_contrast)
    return augment(tile, random, recipe.augment)


def _anywhere(patch: NDArray[np.uint8], size: int, random: np.random.Generator) -> NDArray[np.uint8]:
    y, x = (int(random.integers(side - size + 1)) for side in patch.shape[:2])
    return patch[y : y + size, x : x + size]


def _contrast(tile: NDArray[np.uint8]) -> float:
    """The GLCM contrast of the green channel: near enough to choose by."""
    green = tile[..., 1].astype(np.float32)
    return float(np.square(green[:, GLCM_DISTANCE:] - green[:, :-GLCM_DISTANCE]).mean())
