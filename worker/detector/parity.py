"""Whether two networks are the same, judged by their answers to the same tiles."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from schema.scan import TILE
from worker.detector.model import SuSy
from worker.detector.prepare import offered_precisions, prepare
from worker.detector.weights import invalid
from worker.files import read_regular_file

LARGEST_DIFFERENCE = 1e-5
"""Of two probabilities. Float32 sums in another order change one by about 1e-6; another network by far more."""
LARGEST_LOGIT_DIFFERENCE = 1e-3
"""Of two logarithms of probabilities, which are the logits up to a constant per tile. It finds what softmax hides:
a probability of 1e-9 instead of 1e-6."""
SMALLEST_PROBABILITY = 1e-30
"""Below it float32 has no digits left, and a probability is not compared."""
SMALLEST_VARIATION = 0.01
"""By how much, at least, each logit must vary between the tiles, ten times what may differ: an answer that hardly
depends on the tile says nothing of the network before it."""

BATCHES = (1, 2, 3, 5, 16, 33)
"""A program may treat a single tile, or a batch of many, in its own way; all the tiles are in at least two batches."""
_MAX_PATCH_BYTES = 10_000_000


@dataclass(frozen=True)
class Parity:
    """How far the answers of two networks differ at most."""

    probability: float
    logit: float


def parity_tiles() -> Tensor:
    """Sixteen fixed tiles, uint8 [16, 3, 224, 224].

    Black, white, gray, red, gradients, coarse and fine checkerboards, noise of several contrasts, and noise with the
    spectrum of photographs.
    """
    generator = np.random.default_rng(2409_14128)
    ramp = np.linspace(0, 1, TILE)
    flat = [np.full((TILE, TILE, 3), level) for level in (0.0, 1.0, 0.5, (1.0, 0.0, 0.0))]
    across = np.stack([np.tile(ramp, (TILE, 1)), np.tile(ramp[:, None], (1, TILE)), np.tile(1 - ramp, (TILE, 1))], 2)
    checks = [np.repeat((np.indices((TILE, TILE)) // size).sum(axis=0)[..., None] % 2, 3, axis=2) for size in (8, 1)]
    noise = [generator.random((TILE, TILE, 3)) * scale for scale in (1.0, 0.3)]
    speckles = generator.integers(0, 2, (TILE, TILE, 3))
    textures = [_texture(generator, falloff) for falloff in (0.8, 1.0, 1.2, 1.5, 2.0, 2.5)]
    tiles = np.stack([*flat, across, *checks, *noise, speckles, *textures])
    return torch.from_numpy(np.round(tiles * 255).astype(np.uint8)).permute(0, 3, 1, 2).contiguous()


def compare(original: Callable[[Tensor], Tensor], model: SuSy, *, of: Path, batches: Sequence[int] = BATCHES) -> Parity:
    """The largest differences between the answers of `original` and of `model` to the parity tiles.

    `original` maps tiles uint8 [N, 3, 224, 224] to probabilities float32 [N, C], and is asked for `batches` of these
    sizes, which must cover the tiles. Raises `ConfigurationError`
    (`weights_invalid`) when it does not answer with probabilities, answers the same tile differently in another batch,
    differs from `model` by more than is allowed, or answers in such a way that a difference would not be seen.
    """
    tiles = parity_tiles()
    with torch.inference_mode():
        logits = model.logits(tiles.float().div_(255)).double() / model.temperature
    expected = torch.softmax(logits, dim=1)
    answers = _consistent_answers(original, tiles, batches, logits.shape[1], of)

    probability = float((answers - expected).abs().max())
    difference = _logarithms(answers) - _logarithms(expected)
    logit = float(difference.abs().max())
    if not (probability <= LARGEST_DIFFERENCE and logit <= LARGEST_LOGIT_DIFFERENCE):
        raise invalid(
            of,
            f"is of another network: its answers differ from ours by {probability:.2g}, allowed "
            f"{LARGEST_DIFFERENCE:g}, and their logarithms by {logit:.2g}, allowed {LARGEST_LOGIT_DIFFERENCE:g}",
        )
    _require_information(answers, of)
    return Parity(probability, logit)


def precision_differences(model: SuSy) -> dict[str, float]:
    """How far each precision that this machine offers changes a probability of the parity tiles, by device and name."""
    tiles = parity_tiles().float().div_(255)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    found: dict[str, float] = {}
    with torch.inference_mode():
        exact = model(tiles)
        for device in map(torch.device, devices):
            for precision in offered_precisions(device):
                answers = prepare(model, device, precision)(tiles.to(device)).cpu()
                found[f"{device}/{precision}"] = float((answers - exact).abs().max())
    return found


def _consistent_answers(
    original: Callable[[Tensor], Tensor], tiles: Tensor, batches: Sequence[int], classes: int, of: Path
) -> Tensor:
    """The first answer to each tile, float64 [T, C], after checking that the others agree with it."""
    first = torch.full((len(tiles), classes), torch.nan, dtype=torch.float64)
    start = 0
    for size in batches:
        chosen = torch.arange(start, start + size) % len(tiles)
        start += size
        answer = original(tiles[chosen])
        if answer.shape != (size, classes) or not _are_probabilities(answer):
            raise invalid(of, f"does not answer with {classes} probabilities per tile")
        answer = answer.double()
        unseen = first[chosen].isnan()
        first[chosen] = torch.where(unseen, answer, first[chosen])
        if float((answer - first[chosen]).abs().max()) > LARGEST_DIFFERENCE:
            raise invalid(
                of,
                "answers the same tile differently in another batch: dropout or normalization by the batch is active, "
                "or it depends on the number of tiles",
            )
    return first


def _require_information(answers: Tensor, of: Path) -> None:
    """Refuse answers to which another network's could be equal by chance.

    Only a class whose probability is not lost in rounding, beside another such class, says anything of the logits; and
    only logits that vary say anything of the layers before.
    """
    comparable = answers > SMALLEST_PROBABILITY
    comparable &= comparable.sum(dim=1, keepdim=True) >= 2
    pivot = int(comparable.sum(dim=0).argmax())
    logarithms = answers.log()
    for index in range(answers.shape[1]):
        if index == pivot:
            continue
        both = comparable[:, index] & comparable[:, pivot]
        relative = (logarithms[:, index] - logarithms[:, pivot])[both]
        if len(relative) < len(answers) // 2:
            raise invalid(
                of,
                f"cannot be compared: its answers are so near 0 and 1 that on {len(answers) - len(relative)} of "
                f"{len(answers)} tiles nothing is left of class {index}",
            )
        if float(relative.max() - relative.min()) < SMALLEST_VARIATION:
            raise invalid(of, f"cannot be compared: its answers for class {index} hardly depend on the tile")


def verify_golden(model: SuSy, patch: Path, expected: Sequence[float], tolerance: float) -> float:
    """The largest difference between the probabilities published for `patch` and `model`'s own.

    `patch` is a 224×224 image. Raises `ConfigurationError` (`weights_invalid`) when the difference exceeds `tolerance`.
    """
    tile = torch.from_numpy(_read_patch(patch)).permute(2, 0, 1)[None].float().div_(255)
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


def _read_patch(path: Path) -> NDArray[np.uint8]:
    """The patch's pixels uint8 [224, 224, 3]; its size is checked before it is decoded."""
    try:
        with Image.open(io.BytesIO(read_regular_file(path, _MAX_PATCH_BYTES)), formats=("PNG",)) as image:
            if image.size != (TILE, TILE):
                raise invalid(path, f"is {image.width}×{image.height}, not the golden patch of {TILE}×{TILE}")
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise invalid(path, "is not a readable image, so the published answer cannot be compared") from error


def _texture(generator: np.random.Generator, falloff: float) -> NDArray[np.float64]:
    """Noise [224, 224, 3] in 0..1 whose amplitude is proportional to frequency to the power of −`falloff`."""
    rows, columns = np.fft.fftfreq(TILE)[:, None], np.fft.fftfreq(TILE)[None, :]
    frequency = np.maximum(np.hypot(rows, columns), 1 / TILE)[..., None]
    spectrum = np.fft.fft2(generator.standard_normal((TILE, TILE, 3)), axes=(0, 1)) / frequency**falloff
    texture: NDArray[np.float64] = np.fft.ifft2(spectrum, axes=(0, 1)).real
    texture -= texture.min()
    texture /= texture.max()
    return texture


def _are_probabilities(answer: Tensor) -> bool:
    sums = answer.sum(dim=1)
    return bool((answer >= 0).all()) and bool(((sums - 1).abs() < 1e-4).all())  # NaN fails both


def _logarithms(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(SMALLEST_PROBABILITY).log()
