"""3×3 convolutions of stride 1 on a CPU by Winograd's F(7, 3) down the columns: 3/7 of the multiplications.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308). Seven outputs of a
column are made of nine inputs by nine products, where the direct form takes 21. Here an input is a whole row of pixels,
and a product its convolution with a kernel of one row, which oneDNN computes. Nine rows are brought into that form, and
seven rows out of it, by small matrices, which costs the same whatever the number of channels on the other side. The
network's convolutions have images of 56, 28, 14 and 7 rows, so that none is computed in vain.

The loop is run by TorchScript's interpreter. Python would take its lock for each of hundreds of operators, and threads
that run the network at the same time would wait for each other there.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ROWS = 7
"""The outputs of F(7, 3); the height of an image is a multiple of it."""
_PLACES = ROWS + 2
"""Its inputs, and its products."""
_POINTS = (1.0, -1.0, 0.25, -0.25, 0.6, -0.6, 2.2, -2.2)
"""Where polynomials are evaluated, beside infinity. The first is 1: its product counts once in each output, so that the
bias can be added to it."""
_PATCHES_AT_ONCE = 16
"""How many times seven rows are computed together, of several images where one has fewer. What lies between two steps
stays in the cache."""
_GAP = 80
"""Floats between two places: at a distance of a multiple of 4 kB, all nine would share a few lines of the cache."""
_WEIGHTS_AT_ONCE = 16_384  # in float64, these stay in the cache


class WinogradConvolution(nn.Module):
    """A 3×3 convolution of stride 1 and padding 1: float32 [N, C, H, W] → [N, O, H, W], both channels last.

    H is a multiple of 7. Safe to call from several threads at once. Needs oneDNN.
    """

    def __init__(self, source: nn.Conv2d, width: int, *, relu: bool = False) -> None:
        """A copy of the weights of `source` for images of this `width`; with `relu`, negative outputs become 0."""
        super().__init__()
        self.relu = relu
        self.kernels = [_packed(kernel, width) for kernel in _kernels(source.weight.detach())]
        bias = torch.zeros(source.out_channels) if source.bias is None else source.bias.detach()
        outputs, _, inputs = _matrices()
        for name, tensor in {"bias": bias, "outputs": outputs.float(), "inputs": inputs.float()}.items():
            self.register_buffer(name, tensor)
        self._convolve = _scripted()

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """`added` [N, O, H, W] is added before negative values become 0."""
        matrices = self.inputs, self.outputs
        return self._convolve(x, self.kernels, self.bias, added, self.relu, *matrices)  # type: ignore[no-any-return]


@functools.cache
def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """The paper's Aᵀ [7, 9], G [9, 3] and Bᵀ [9, 9], float64.

    Rows of Bᵀ and columns of Aᵀ, but for the first column, are divided by their norms, and rows of G multiplied by
    both.
    """
    points = torch.tensor(_POINTS, dtype=torch.float64)
    outputs, weights, inputs = (points.new_zeros(size) for size in ((ROWS, _PLACES), (_PLACES, 3), (_PLACES, _PLACES)))
    for place, point in enumerate(points):
        others = torch.cat([points[:place], points[place + 1 :]])
        outputs[:, place] = point ** torch.arange(ROWS)
        weights[place] = point ** torch.arange(3) / (point - others).prod()
        inputs[place, :-1] = _coefficients(others)
    outputs[-1, -1] = weights[-1, -1] = 1  # infinity
    inputs[-1] = _coefficients(points)
    rows, columns = inputs.norm(dim=1), outputs.norm(dim=0)
    columns[0] = 1
    return outputs / columns, weights * (rows * columns)[:, None], inputs / rows[:, None]


def _coefficients(roots: Tensor) -> Tensor:
    """Of the polynomial with these roots, that of x⁰ first."""
    answer = roots.new_ones(1)
    for root in roots:
        answer = functional.pad(answer, (1, 0)) - root * functional.pad(answer, (0, 1))
    return answer


def _kernels(weight: Tensor) -> Tensor:
    """Float32 [O, C, 3, 3] → [9, O, C, 1, 3], computed in float64."""
    rows = weight.permute(2, 0, 1, 3).reshape(3, -1)
    answer = rows.new_empty(_PLACES, rows.shape[1])
    _, factors, _ = _matrices()
    for part, result in zip(rows.split(_WEIGHTS_AT_ONCE, 1), answer.split(_WEIGHTS_AT_ONCE, 1), strict=True):
        result.copy_(factors @ part.double())
    return answer.view(_PLACES, *weight.shape[:2], 1, 3)


def _packed(kernel: Tensor, width: int) -> Tensor:
    """[O, C, 1, 3] in the order in which oneDNN reads it, which for one thread is the same for any number of rows."""
    shape = [1, kernel.shape[1], ROWS, width]
    return torch.ops.mkldnn._reorder_convolution_weight(kernel, [0, 1], [1, 1], [1, 1], 1, shape)  # type: ignore[no-any-return]


@functools.cache
def _scripted() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and without a successor that needs no C++ compiler
        return torch.jit.script(_convolve)


def _convolve(
    x: Tensor,
    kernels: list[Tensor],
    bias: Tensor,
    added: Tensor | None,
    relu: bool,
    of_inputs: Tensor,
    of_outputs: Tensor,
    patches_at_once: int = _PATCHES_AT_ONCE,
) -> Tensor:
    images = x.permute(0, 2, 3, 1)
    shortcut = None if added is None else added.permute(0, 2, 3, 1)
    count, height, width, channels = images.shape[0], images.shape[1], images.shape[2], images.shape[3]
    rows, length = of_outputs.shape[0], width * bias.shape[0]
    answer = images.new_empty([count, height, width, bias.shape[0]])
    step = max(1, patches_at_once * rows // height)
    for start in range(0, count, step):
        part = answer[start : start + step]
        patches = part.view(-1, rows, length)
        inputs = _inputs(images[start : start + step], of_inputs, rows)
        products = _apart(images, len(kernels), patches.shape[0], length)
        for place, kernel in enumerate(kernels):
            image = inputs[place].view(1, -1, width, channels).permute(0, 3, 1, 2)
            product = torch.ops.mkldnn._convolution_pointwise(
                image, kernel, bias if place == 0 else None, [0, 1], [1, 1], [1, 1], 1, "none", [], ""
            )
            products[place].copy_(product.permute(0, 2, 3, 1).view_as(products[place]))
        for patch in range(patches.shape[0]):
            torch.mm(of_outputs, products[:, patch], out=patches[patch])
        if shortcut is not None:
            part += shortcut[start : start + step]
        if relu:
            part.relu_()
    return answer.permute(0, 3, 1, 2)


def _inputs(images: Tensor, of_inputs: Tensor, rows: int) -> Tensor:
    """[N, H, W, C] → [9, N · H/7, W · C]: Bᵀ d of each patch d of nine rows, of which those outside are 0."""
    count, down = images.shape[0], images.shape[1] // rows
    lines = images.reshape(count, rows * down, -1)
    answer = _apart(images, of_inputs.shape[0], count * down, lines.shape[2])
    for image in range(count):
        for patch in range(down):
            above = rows * patch - 1
            first, end = max(0, above), min(rows * down, above + of_inputs.shape[1])
            factors = of_inputs[:, first - above : end - above]
            torch.mm(factors, lines[image, first:end], out=answer[:, image * down + patch])
    return answer


def _apart(like: Tensor, places: int, patches: int, length: int, gap: int = _GAP) -> Tensor:
    """An empty [places, patches, length]."""
    return like.new_empty([places, patches * length + gap])[:, : patches * length].view(places, patches, length)
