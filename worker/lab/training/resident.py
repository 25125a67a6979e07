"""Training batches made on the network's device, from patches that stay in its memory.

A GPU trains on thousands of tiles per second, more than a processor's cores can cut, encode and augment. With the
recipe's `resident`, all patches are copied to the device once, and each batch is cut, resized, encoded and augmented
there. Encoding is JPEG alone, computed without the entropy coding, which loses nothing. Resizing and encoding are drawn
for groups of tiles; all else is drawn for each tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from worker.detector.contrast import GLCM_DISTANCE
from worker.lab.dataset.patches import Patches
from worker.lab.training.augment import (
    BRIGHTNESS_LIMIT,
    CONTRAST_LIMIT,
    DROPOUT_PROBABILITY,
    FLIP_PROBABILITY,
    GAMMA_LIMITS,
    GAMMA_PROBABILITY,
    LARGEST_FACTOR,
    THERE_AND_BACK,
    TONE_PROBABILITY,
    draw_holes,
)
from worker.lab.training.batches import CONTRAST_TRIES, Batch, Order
from worker.lab.training.recipe import Recipe

GROUPS = 16
"""Groups of a batch whose tiles share a size and a chroma subsampling."""
BLOCK = 8
"""Side of a JPEG block, in pixels."""
_CHUNK = 256  # patches copied at a time

# Annex K of the JPEG standard (ITU-T T.81), which libjpeg scales by quality.
_LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


class ResidentPatches:
    """The training patches in the memory of a device."""

    def __init__(self, recipe: Recipe, patches: Patches, device: torch.device) -> None:
        self._recipe = recipe
        self._labels = patches.labels
        self._pixels = torch.empty(patches.pixels.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(patches), _CHUNK):
            part = torch.from_numpy(np.array(patches.pixels[start : start + _CHUNK]))
            self._pixels[start : start + _CHUNK] = part.to(device)

    def batches(
        self,
        steps: Sequence[Order],
        *,
        epoch: int,
        class_weights: NDArray[np.float32],
        rank: int = 0,
        processes: int = 1,
    ) -> Iterator[Batch]:
        """The batches on which the process `rank` of `processes` trains in the given steps of an epoch."""
        device = self._pixels.device
        for step in steps:
            weights = class_weights[self._labels[step[:, 0]]]
            part = np.array_split(np.arange(len(step)), processes)[rank]
            chosen = step[part, 0]
            random = np.random.default_rng([self._recipe.seed, epoch, int(step[0, 1]), rank])
            yield Batch(
                self.tiles(chosen, random),
                torch.from_numpy(self._labels[chosen]).to(device, non_blocking=True),
                torch.from_numpy((weights / weights.sum())[part]).to(device, non_blocking=True),
            )

    @torch.no_grad()
    def tiles(self, indices: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """One tile of each patch, cut and augmented by the recipe: uint8 [B, 3, crop, crop], channels last."""
        groups = [group for group in np.array_split(indices, GROUPS) if len(group)]
        tiles = torch.cat([self._group(group, random) for group in groups])
        tiles = _augment(tiles, random, self._recipe.augment)
        return tiles.round_().clamp_(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)

    def _group(self, indices: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """Float32 [B, 3, crop, crop] in 0..255."""
        recipe = self._recipe
        patch = self._pixels.shape[1]
        margin = min(BLOCK, patch - recipe.crop) if recipe.encode else 0
        size = recipe.crop + margin
        factor, back = 1.0, False
        if recipe.resize and random.random() < recipe.resize:
            back = random.random() < 0.5
            smallest = THERE_AND_BACK[0] if back else size / patch
            factor = math.exp(
                random.uniform(math.log(smallest), math.log(THERE_AND_BACK[1] if back else LARGEST_FACTOR))
            )
        side = size if back else min(patch, round(size / factor))
        tiles = self._cut(indices, side, random)
        mode = "bicubic" if random.random() < 0.5 else "bilinear"
        if back:
            tiles = resized(resized(tiles, round(size * factor), mode), size, mode)
        elif side != size:
            tiles = resized(tiles, size, mode)
        if recipe.encode and random.random() < recipe.encode:
            low, high = recipe.encode_quality
            tiles = jpeg(tiles, random.integers(low, high + 1, len(indices)), halved=random.random() < 0.5)
        # Tiles of a whole image begin where a block begins, unless the image was cropped after it was encoded.
        y, x = random.integers(margin + 1, size=2) if random.random() < 0.5 else (0, 0)
        return tiles[:, :, y : y + recipe.crop, x : x + recipe.crop]

    def _cut(self, indices: NDArray[np.int64], side: int, random: np.random.Generator) -> Tensor:
        """Squares of `side` pixels, at the recipe's positions: float32 [B, 3, side, side] in 0..255."""
        device, room = self._pixels.device, self._pixels.shape[1] - side
        at = torch.from_numpy(indices).to(device)
        if self._recipe.crop_at == "center":
            corners = np.full((1, len(indices), 2), room // 2)
        else:
            tries = CONTRAST_TRIES if self._recipe.crop_at == "contrast" else 1
            corners = random.integers(room + 1, size=(tries, len(indices), 2))
        steps = torch.arange(side, device=device)
        windows = torch.from_numpy(corners).to(device)[..., None] + steps  # [tries, B, 2, side]
        best = windows[0]
        if len(windows) > 1:
            green = self._pixels[at[:, None, None], windows[:, :, 0, :, None], windows[:, :, 1, None, :], 1].float()
            contrasts = (green[..., GLCM_DISTANCE:] - green[..., :-GLCM_DISTANCE]).square().mean(dim=(2, 3))
            best = windows[contrasts.argmax(dim=0), torch.arange(len(at), device=device)]
        cut = self._pixels[at[:, None, None], best[:, 0, :, None], best[:, 1, None, :]]
        return cut.permute(0, 3, 1, 2).float()


def resized(tiles: Tensor, side: int, mode: str) -> Tensor:
    """Tiles in 0..255 at another size, rounded to whole levels. The filter widens when it shrinks, as Pillow's does."""
    changed = functional.interpolate(tiles, size=(side, side), mode=mode, antialias=True)
    return changed.round_().clamp_(0, 255)


def jpeg(tiles: Tensor, quality: NDArray[np.int64], *, halved: bool) -> Tensor:
    """The tiles after encoding as JPEG and decoding, whole levels in 0..255, as libjpeg computes them.

    `tiles`: float32 [B, 3, H, W], whole levels in 0..255. `quality`: [B], 1 to 100. `halved`: chroma has half the width
    and height (4:2:0).
    """
    height, width = tiles.shape[2:]
    multiple = 2 * BLOCK
    padded = functional.pad(tiles, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    ycc = _mixed(padded, _TO_YCC)
    luma, chroma = ycc[:, :1] - 128, ycc[:, 1:]
    if halved:
        chroma = functional.avg_pool2d(chroma, 2)
    luma = _quantized(luma.round(), _tables(_LUMA_TABLE, quality, tiles.device)) + 128
    chroma = _quantized(chroma.round(), _tables(_CHROMA_TABLE, quality, tiles.device))
    if halved:
        chroma = functional.interpolate(chroma, scale_factor=2, mode="bilinear")
    decoded = _mixed(torch.cat((luma.clamp(0, 255).round(), chroma.clamp(-128, 127).round()), dim=1), _TO_RGB)
    return decoded[:, :, :height, :width].round().clamp(0, 255)


def _mixed(tiles: Tensor, matrix: Sequence[Sequence[float]]) -> Tensor:
    """Each pixel's three channels multiplied by `matrix`, in float32."""
    red, green, blue = tiles.unbind(dim=1)
    return torch.stack([a * red + b * green + c * blue for a, b, c in matrix], dim=1)


def _tables(table: Sequence[Sequence[int]], quality: NDArray[np.int64], device: torch.device) -> Tensor:
    """libjpeg's quantization tables: float32 [B, 1, 1, 8, 1, 8]."""
    scale = np.where(quality < 50, 5000 // quality.clip(1), 200 - 2 * quality)
    scaled = ((np.array(table) * scale[:, None, None] + 50) // 100).clip(1, 255).astype(np.float32)
    return torch.from_numpy(scaled).to(device)[:, None, None, :, None, :]


def _quantized(plane: Tensor, tables: Tensor) -> Tensor:
    """The planes [B, C, H, W], their 8×8 blocks transformed, quantized by `tables`, and transformed back."""
    batch, channels, height, width = plane.shape
    basis = _cosines(plane.device)
    blocks = plane.reshape(batch, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    spectrum = torch.einsum("ij,bchjwk,lk->bchiwl", basis, blocks, basis)
    spectrum = (spectrum / tables).round_() * tables
    return torch.einsum("ji,bchjwk,kl->bchiwl", basis, spectrum, basis).reshape(plane.shape)


def _cosines(device: torch.device) -> Tensor:
    """The orthonormal basis of the discrete cosine transform: float32 [8 frequencies, 8 positions]."""
    position = torch.arange(BLOCK, device=device)
    basis = torch.cos(math.pi / BLOCK * (position + 0.5) * position[:, None]) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    return basis


def _augment(tiles: Tensor, random: np.random.Generator, which: Sequence[str]) -> Tensor:
    """The card's augmentations named in `which`, drawn for each tile, of float32 [B, 3, S, S] in 0..255."""
    count, device = len(tiles), tiles.device

    def drawn(probability: float, low: float, high: float, otherwise: float) -> Tensor:
        values = np.where(random.random(count) < probability, random.uniform(low, high, count), otherwise)
        return torch.from_numpy(values.astype(np.float32)).to(device)[:, None, None, None]

    if "flip" in which:
        turned = torch.from_numpy(random.random(count) < FLIP_PROBABILITY).to(device)[:, None, None, None]
        tiles = torch.where(turned, tiles.flip(3), tiles)
    if "tone" in which:
        both = random.random(count) < TONE_PROBABILITY
        limits = ((1.0, CONTRAST_LIMIT), (0.0, 255 * BRIGHTNESS_LIMIT))
        factor, offset = (
            torch.from_numpy(np.where(both, middle + random.uniform(-limit, limit, count), middle).astype(np.float32))
            .to(device)[:, None, None, None]
            for middle, limit in limits
        )  # fmt: skip
        tiles = (tiles * factor + offset).round_().clamp_(0, 255)
    if "gamma" in which:
        exponent = drawn(GAMMA_PROBABILITY, GAMMA_LIMITS[0] / 100, GAMMA_LIMITS[1] / 100, 1.0)
        tiles = 255 * (tiles / 255) ** exponent
    if "holes" in which:
        for number in np.flatnonzero(random.random(count) < DROPOUT_PROBABILITY).tolist():
            for left, top, right, bottom in draw_holes(tiles.shape[2], tiles.shape[3], random).tolist():
                tiles[number, :, top:bottom, left:right] = 0
    return tiles
