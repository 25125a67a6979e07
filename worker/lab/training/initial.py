"""Prepared initial weights, for training from nothing with little data and little time.

The traces that a generator leaves in a picture are far weaker than the picture itself. A first layer of random filters
mostly passes the picture's low frequencies, and learns nothing for thousands of steps. The prepared weights therefore
start with these properties:

* the first convolution is a filter bank without a constant part, in which the traces show at once;
* residual blocks are the identity (arXiv 1706.02677, section 5.1), so that the filters' energies pass through;
* the staircase, which is linear, keeps their variance instead of shrinking it 27-fold per bottleneck.

Training changes all of them afterwards like any other weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from worker.detector.model import BasicBlock, SuSy

GAIN = 8.0
"""Of the filters, so that even faint texture is well above the eps of batch normalization."""
_LUMA = (1.0, 1.0, 1.0)
_OPPONENTS = ((1.0, -1.0, 0.0), (-0.5, -0.5, 1.0))
"""Red against green, and blue against yellow: changed by chroma subsampling and by networks that treat colors apart."""


def prepare_start(model: SuSy) -> None:
    """Set a new model's weights as described in this module's docstring."""
    with torch.no_grad():
        model.conv1.weight.copy_(filter_bank(model.conv1.kernel_size[0], model.conv1.out_channels))
        for module in model.modules():
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
        for name, parameter in model.named_parameters():
            if name.startswith("f") and name[1].isdigit():
                if parameter.dim() == 4:
                    nn.init.kaiming_normal_(parameter, nonlinearity="linear")
                else:
                    nn.init.zeros_(parameter)


def filter_bank(size: int, count: int) -> Tensor:
    """The first `count` filters, float32 [count, 3, size, size]: the cosine basis of a `size`×`size` block without its
    constant, on gray; then on opponent colors. Each by ascending frequency."""
    basis = [
        (u + v, _cosine(u, size)[:, None] * _cosine(v, size)[None, :])
        for u in range(size)
        for v in range(size)
        if u + v > 0
    ]
    basis.sort(key=lambda entry: entry[0])
    gray = [_colored(wave, _LUMA) for _, wave in basis]
    color = [_colored(wave, opponent) for _, wave in basis for opponent in _OPPONENTS]
    return GAIN * torch.stack((gray + color)[:count])


def _cosine(frequency: int, size: int) -> Tensor:
    return torch.cos(math.pi * (2 * torch.arange(size) + 1) * frequency / (2 * size))


def _colored(wave: Tensor, color: tuple[float, float, float]) -> Tensor:
    filters = torch.tensor(color)[:, None, None] * wave[None]
    normed: Tensor = filters / filters.norm()
    return normed
