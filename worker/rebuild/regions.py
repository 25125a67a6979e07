"""Scores of whole image files, for the evaluation: no queue, no policy, the same tiles as a worker looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from schema.scan import TILE
from worker.detector.contrast import highest, luma, tile_contrasts
from worker.detector.fold import prepare
from worker.detector.model import SuSy
from worker.detector.tiles import coverage_grid, cut
from worker.training.batches import to_tensor

BATCH = 16


@dataclass(frozen=True)
class Box:
    """A rectangle in image pixels."""

    x: int
    y: int
    width: int
    height: int


class Scorer:
    """A network on the CPU, ready to score tiles and images."""

    def __init__(self, model: SuSy) -> None:
        self._network = prepare(model, torch.device("cpu"))

    @torch.inference_mode()
    def tiles(self, tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Class probabilities float32 [T, C] of T tiles uint8 [224, 224, 3]."""
        parts = [tiles[start : start + BATCH] for start in range(0, len(tiles), BATCH)]
        return np.concatenate([self._network(to_tensor(list(part))).numpy() for part in parts])

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Mean class probabilities [C] over the five tiles of highest contrast; None without any tile."""
        height, width = image.shape[:2]
        grid = coverage_grid(width, height)
        if not len(grid):
            return None
        chosen = highest(tile_contrasts(luma(image), grid))
        mean: NDArray[np.float32] = self.tiles(cut(image, grid[chosen])).mean(axis=0)
        return mean

    def map(self, image: NDArray[np.uint8], stride: int) -> NDArray[np.float32]:
        """1 − p(authentic) of every pixel, float32 [H, W]: the mean over the tiles that cover it."""
        height, width = image.shape[:2]
        grid = coverage_grid(width, height, stride)
        scores = 1 - self.tiles(cut(image, grid))[:, 0]
        total, covering = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
        for (x, y), score in zip(grid.tolist(), scores, strict=True):
            total[y : y + TILE, x : x + TILE] += score
            covering[y : y + TILE, x : x + TILE] += 1
        return total / covering


def overlap(found: NDArray[np.bool_], box: Box) -> float:
    """Intersection over union of the pixels found, bool [H, W], and a rectangle."""
    true = np.zeros_like(found)
    true[box.y : box.y + box.height, box.x : box.x + box.width] = True
    return float((found & true).sum() / (found | true).sum())
