"""Labelled images whose classes are known in advance: tinted crops of photographs, and a network that detects tints."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut
from torch import Tensor, nn

from schema.scan import Tiling
from tests.support.released import save_script
from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.scorer import Scorer, open_scorer
from worker.lab.evaluation.scoring import Treatment

TREATMENT = Treatment(Tiling(), max_pixels=10**8)
TINTS = ("authentic", "green", "blue")
"""The classes of the tint network: a red image is authentic."""


class TintNetwork(nn.Module):
    """float [N, 3, H, W] → probabilities [N, 3]: the softmax of the channels' means, times a strength."""

    def __init__(self, strength: float = 20.0) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.strength * x.mean(dim=(2, 3)), dim=1)


def tint_scorer(folder: Path, strength: float = 20.0) -> Scorer:
    """The tint network as a TorchScript file in `folder`, opened."""
    path = save_script(folder / "tint.pt", TintNetwork(strength))
    return open_scorer(path, "cpu", classes=TINTS)


@dataclass(frozen=True)
class Encoded:
    """An image's bytes, in memory."""

    content: bytes

    def read(self) -> bytes:
        return self.content

    def fingerprint(self) -> str:
        return str(len(self.content))


def tinted(tint: str, *, share: float = 0.5, side: int = 224, corner: int = 0) -> NDArray[np.uint8]:
    """A crop of a photograph in gray, all but the tint's channel dimmed to `share`, uint8 [side, side, 3]."""
    gray = astronaut()[corner : corner + side, corner : corner + side].mean(axis=2, keepdims=True)
    factors = np.where(np.arange(3) == TINTS.index(tint), 1.0, share)
    return (gray * factors).astype(np.uint8)


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def entry(
    name: str,
    pixels: NDArray[np.uint8] | bytes,
    label: str,
    *,
    split: str = "test",
    dataset: str | None = None,
    picture: str | None = None,
) -> Entry:
    """A labelled image in memory; bytes are its encoded form."""
    content = pixels if isinstance(pixels, bytes) else encoded(pixels)
    return Entry(name, label, split, dataset or label, picture or name, Encoded(content))
