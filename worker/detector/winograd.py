"""3×3 convolutions of stride 1 on a CPU by Winograd's F(4×4, 3×3): a quarter of the multiplications.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308). A patch of 4×4 outputs
is computed from 6×6 inputs by 36 products per pair of channels, where the direct form takes 144. The products of one
place among the 36, over all patches and channels, are one multiplication of matrices. Inputs are brought into that
form, and products out of it, by additions whose number does not grow with the channels of the other side.

The polynomials are evaluated at 0, ±√½, ±√2 and infinity. The usual points, 0, ±1, ±2 and infinity, cost a little less
and round three times as much. That the network's probabilities stay within 1e-5 is tested. A few images are processed
at a time, so that what lies between two steps stays in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, add, sub

PATCHES_AT_ONCE = 128
"""How many patches are computed together at least, where there are so many: fewer make small matrices."""

_KERNELS_AT_ONCE = 4096  # in float64, these stay in the cache
_P, _Q = 0.5**0.5, 2**0.5
"""The points. Their product is 1, which saves factors below."""
_WEIGHT = torch.tensor(
    [
        [1, 0, 0],
        *([_P * x**power / (2 * x * x * (x * x - y * y)) for power in range(3)] for x, y in ((_P, _Q), (-_P, _Q))),
        *([_Q * x**power / (2 * x * x * (x * x - y * y)) for power in range(3)] for x, y in ((_Q, _P), (-_Q, _P))),
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
"""The paper's G, applied along both directions. The rows of ±p and ±q are multiplied by p and q, and the columns of Aᵀ
divided by them, so that more of its entries are 1."""


def transform_weight(weight: Tensor) -> Tensor:
    """Float32 [out, in, 3, 3] → [36, in, out], in this order in memory: transposed matrices take up to 10 % longer."""
    places = torch.kron(_WEIGHT, _WEIGHT)
    kernels = weight.detach().transpose(0, 1).reshape(-1, 9)
    answer = kernels.new_empty(36, len(kernels))
    for part, result in zip(kernels.split(_KERNELS_AT_ONCE), answer.split(_KERNELS_AT_ONCE, dim=1), strict=True):
        result.copy_(places @ part.double().T)
    return answer.view(36, weight.shape[1], weight.shape[0])


def convolve(tiles: Tensor, weight: Tensor, bias: Tensor, added: Tensor | None = None, *, relu: bool) -> Tensor:
    """The 3×3 convolution of stride 1 and padding 1 of float32 [N, C, H, W] to [N, O, H, W], both channels last.

    `weight` is from `transform_weight`, `bias` is [O]. `added` [N, O, H, W] is added; with `relu`, negative values
    become 0. Safe to call from several threads at once.
    """
    images = tiles.permute(0, 2, 3, 1)
    shortcut = None if added is None else added.permute(0, 2, 3, 1)
    count, height, width, _ = images.shape
    answer = images.new_empty(count, height, width, weight.shape[2])
    step = max(1, PATCHES_AT_ONCE // (_patches(height) * _patches(width)))
    for start in range(0, count, step):
        some = slice(start, start + step)
        outputs = add(_outputs(torch.bmm(_inputs(images[some]), weight), answer[some]), bias, out=answer[some])
        if shortcut is not None:
            outputs += shortcut[some]
        if relu:
            outputs.relu_()
    return answer.permute(0, 3, 1, 2)


def _patches(length: int) -> int:
    """Patches along one side."""
    return -(-length // 4)


def _inputs(images: Tensor) -> Tensor:
    """[N, H, W, C] → [36, patches, C]: Bᵀ d B of each patch d."""
    count, height, width, channels = images.shape
    down, across = _patches(height), _patches(width)
    padded = images.new_zeros(count, 4 * down + 2, 4 * across + 2, channels)
    padded[:, 1 : height + 1, 1 : width + 1] = images
    columns = images.new_empty(6, count, down, padded.shape[2], channels)
    spare = images.new_empty(2, *columns.shape[1:])
    _transform_inputs([padded[:, row : row + 4 * down - 3 : 4] for row in range(6)], columns, spare)
    answer = images.new_empty(6, 6, count, down, across, channels)
    spare = images.new_empty(2, 6, *answer.shape[2:])
    _transform_inputs(
        [columns[:, :, :, column : column + 4 * across - 3 : 4] for column in range(6)], answer.unbind(1), spare
    )
    return answer.view(36, -1, channels)


def _outputs(products: Tensor, like: Tensor) -> Tensor:
    """[36, patches, O] → [N, H, W, O], of the shape of `like`: Aᵀ m A of each patch m."""
    count, height, width, channels = like.shape
    down, across = _patches(height), _patches(width)
    columns = products.new_empty(6, count, down, across, 4, channels)
    spare = products.new_empty(2, 6, count, down, across, channels)
    _transform_outputs(products.view(6, 6, count, down, across, channels).unbind(1), columns.unbind(4), spare)
    answer = products.new_empty(count, down, 4, 4 * across, channels)
    spare = products.new_empty(2, count, down, 4 * across, channels)
    _transform_outputs(columns.view(6, *spare.shape[1:]).unbind(0), answer.unbind(2), spare)
    return answer.view(count, 4 * down, 4 * across, channels)[:, :height, :width]


def _transform_inputs(d: Sequence[Tensor], out: Sequence[Tensor] | Tensor, spare: Tensor) -> None:
    """The paper's Bᵀ along one direction."""
    even, odd = spare
    add(d[4], d[2], alpha=-(_P**2 + _Q**2), out=out[0]).add_(d[0])
    add(d[5], d[3], alpha=-(_P**2 + _Q**2), out=out[5]).add_(d[1])
    add(d[4], d[2], alpha=-(_Q**2), out=even)
    add(d[3], d[1], alpha=-(_Q**2), out=odd)
    add(even, odd, alpha=_P, out=out[1])
    sub(even, odd, alpha=_P, out=out[2])
    add(d[4], d[2], alpha=-(_P**2), out=even)
    add(d[3], d[1], alpha=-(_P**2), out=odd)
    add(even, odd, alpha=_Q, out=out[3])
    sub(even, odd, alpha=_Q, out=out[4])


def _transform_outputs(m: Sequence[Tensor], out: Sequence[Tensor], spare: Tensor) -> None:
    """The paper's Aᵀ along one direction."""
    of_p, of_q = spare
    add(m[1], m[2], out=of_p)
    add(m[3], m[4], out=of_q)
    add(m[0], of_p, alpha=1 / _P, out=out[0]).add_(of_q, alpha=1 / _Q)
    torch.mul(of_p, _P, out=out[2]).add_(of_q, alpha=_Q)
    sub(m[1], m[2], out=of_p)
    sub(m[3], m[4], out=of_q)
    add(of_p, of_q, out=out[1])
    add(m[5], of_p, alpha=_P**2, out=out[3]).add_(of_q, alpha=_Q**2)
