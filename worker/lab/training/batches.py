"""Batches of augmented tiles, prepared by background threads while the network trains on the ones before.

Tiles stay uint8 until they are on the network's device: a quarter of the bytes to write and to send.
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
from worker.lab.training.augment import Pixels, augment, encode_again
from worker.lab.training.order import Order
from worker.lab.training.recipe import Recipe

CONTRAST_TRIES = 3


@dataclass(frozen=True, eq=False)
class Batch:
    """One process's share of a step."""

    tiles: Tensor
    """uint8 [B, 3, crop, crop], channels last in memory."""
    labels: Tensor
    """int64 [B]."""
    weights: Tensor
    """float32 [B]: what each tile counts in the loss; they sum to 1 over all processes."""

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
    """What the process `rank` of `processes` trains on in the given steps of an epoch.

    The same arguments give the same batches, whatever the number of `loaders`, the threads that prepare them.
    """

    def prepare(step: Order) -> Batch:
        counts = class_weights[patches.labels[step[:, 0]]]
        mine = np.array_split(np.arange(len(step)), processes)[rank]
        tiles = np.empty((len(mine), recipe.crop, recipe.crop, 3), np.uint8)
        for tile, (index, seed) in zip(tiles, step[mine].tolist(), strict=True):
            tile[:] = _training_tile(recipe, patches.pixels[index], np.random.default_rng([recipe.seed, epoch, seed]))
        return Batch(
            _channels_first(tiles),
            torch.from_numpy(patches.labels[step[mine, 0]]),
            torch.from_numpy((counts / counts.sum())[mine]),
        )

    with ThreadPoolExecutor(loaders, thread_name_prefix="loader") as pool:
        ahead: deque[Future[Batch]] = deque()
        try:
            for step in steps:
                ahead.append(pool.submit(prepare, step))
                if len(ahead) > loaders:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def validation_batches(recipe: Recipe, patches: Patches, numbers: NDArray[np.int64], batch: int) -> Iterator[Tensor]:
    """Tiles of the patches with these numbers, in order, cropped centrally: uint8 [B, 3, crop, crop]."""
    for start in range(0, len(numbers), batch):
        part = numbers[start : start + batch]
        yield _channels_first(np.stack([center(patches.pixels[number], recipe.crop) for number in part]))


def scaled(tiles: Tensor) -> Tensor:
    """What the network takes, float32 in 0..1, of tiles uint8."""
    return tiles.float().div_(255)


def center(patch: Pixels, size: int) -> Pixels:
    """The central `size` × `size` pixels of a patch uint8 [H, W, 3]."""
    y, x = ((side - size) // 2 for side in patch.shape[:2])
    return patch[y : y + size, x : x + size]


def _channels_first(tiles: Pixels) -> Tensor:
    """[B, S, S, 3] seen as [B, 3, S, S], which then already is in channels-last order."""
    return torch.from_numpy(tiles).permute(0, 3, 1, 2)


def _training_tile(recipe: Recipe, patch: Pixels, random: np.random.Generator) -> Pixels:
    if recipe.encode and random.random() < recipe.encode:
        patch = encode_again(patch, random)
    if recipe.crop_at == "center":
        tile = center(patch, recipe.crop)
    else:
        tries = CONTRAST_TRIES if recipe.crop_at == "contrast" else 1
        tile = max((_anywhere(patch, recipe.crop, random) for _ in range(tries)), key=_contrast)
    return augment(tile, random, recipe.augment)


def _anywhere(patch: Pixels, size: int, random: np.random.Generator) -> Pixels:
    y, x = (int(random.integers(side - size + 1)) for side in patch.shape[:2])
    return patch[y : y + size, x : x + size]


def _contrast(tile: Pixels) -> float:
    """The GLCM contrast of the green channel: near enough to choose by."""
    green = tile[..., 1].astype(np.float32)
    return float(np.square(green[:, GLCM_DISTANCE:] - green[:, :-GLCM_DISTANCE]).mean())
