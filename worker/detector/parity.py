"""Whether two networks are the same, judged by their answers to the same tiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from schema.scan import TILE
from worker.detector.weights import invalid

LARGEST_DIFFERENCE = 1e-5
"""Float32 sums in another order change a probability by about 1e-6; another network changes it by far more."""

_BATCHES = [1, 2, 9]  # a single tile differs where a program squeezes dimensions


def parity_tiles() -> Tensor:
    """Twelve fixed tiles, float32 [12, 3, 224, 224] in 0..1, in steps of 1/255 as real tiles have.

    Black, white, gray, gradients, a checkerboard, noise, and noise with the spectrum of photographs.
    """
    generator = np.random.default_rng(2409_14128)
    ramp = np.linspace(0, 1, TILE)
    flat = [np.full((TILE, TILE, 3), level) for level in (0.0, 1.0, 0.5)]
    across = np.stack([np.tile(ramp, (TILE, 1)), np.tile(ramp[:, None], (1, TILE)), np.tile(1 - ramp, (TILE, 1))], 2)
    checks = np.repeat((np.indices((TILE, TILE)).sum(axis=0) // 8 % 2)[..., None], 3, axis=2)
    noise = [generator.random((TILE, TILE, 3)) * scale for scale in (1.0, 0.3)]
    textures = [_texture(generator, falloff) for falloff in (0.8, 1.0, 1.2, 1.5, 2.0)]
    tiles = np.stack([*flat, across, checks, *noise, *textures])
    levels = np.round(tiles * 255).astype(np.float32)
    return torch.from_numpy(levels / np.float32(255)).permute(0, 3, 1, 2).contiguous()


def largest_difference(original: nn.Module, model: nn.Module, *, of: Path) -> float:
    """The largest difference between the two networks' probabilities on the parity tiles.

    Raises `ConfigurationError` (`weights_invalid`) when the original does not run, does not answer with
    probabilities, or differs from `model` by more than `LARGEST_DIFFERENCE`.
    """
    largest = 0.0
    with torch.inference_mode():
        for tiles in torch.split(parity_tiles(), _BATCHES):
            expected = model(tiles)
            try:
                answer = original(tiles)
            except Exception as error:
                raise invalid(of, f"fails on {len(tiles)} tiles of 224×224 ({_last_line(error)})") from error
            if not isinstance(answer, Tensor) or answer.shape != expected.shape or not _probabilities(answer):
                raise invalid(of, f"does not answer with {expected.shape[1]} probabilities per tile")
            largest = max(largest, float((answer - expected).abs().max()))
    if largest > LARGEST_DIFFERENCE:
        raise invalid(
            of, f"is of another network: its answers differ from ours by {largest:.2g}, allowed {LARGEST_DIFFERENCE:g}"
        )
    return largest


def verify_golden(model: nn.Module, patch: Path, expected: Sequence[float], tolerance: float) -> float:
    """The largest difference between the probabilities published for `patch` and `model`'s own.

    `patch` is a 224×224 image. Raises `ConfigurationError` (`weights_invalid`) when the difference exceeds `tolerance`.
    """
    try:
        with Image.open(patch) as image:
            pixels: NDArray[np.uint8] = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise invalid(patch, "is not a readable image, so the published answer cannot be compared") from error
    if pixels.shape != (TILE, TILE, 3):
        raise invalid(patch, f"is {pixels.shape[1]}×{pixels.shape[0]}, not the golden patch of {TILE}×{TILE}")
    tile = torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        answer = model(tile)[0]
    if len(answer) != len(expected):
        raise invalid(patch, f"has {len(expected)} published probabilities, but the network has {len(answer)} classes")
    difference = float((answer - torch.tensor(expected)).abs().max())
    if not difference <= tolerance:
        raise invalid(
            patch,
            "is the golden patch, and these weights do not give its published answer: "
            f"the probabilities differ by {difference:.2g}, allowed {tolerance:g}",
        )
    return difference


def _texture(generator: np.random.Generator, falloff: float) -> NDArray[np.float64]:
    """Noise [224, 224, 3] in 0..1 whose amplitude is proportional to frequency to the power of −`falloff`."""
    rows, columns = np.fft.fftfreq(TILE)[:, None], np.fft.fftfreq(TILE)[None, :]
    frequency = np.maximum(np.hypot(rows, columns), 1 / TILE)[..., None]
    spectrum = np.fft.fft2(generator.standard_normal((TILE, TILE, 3)), axes=(0, 1)) / frequency**falloff
    texture: NDArray[np.float64] = np.fft.ifft2(spectrum, axes=(0, 1)).real
    texture -= texture.min()
    texture /= texture.max()
    return texture


def _probabilities(answer: Tensor) -> bool:
    sums = answer.sum(dim=1)
    return bool((answer >= 0).all()) and bool(((sums - 1).abs() < 1e-4).all())  # NaN fails both


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
