"""The staircase as one matrix: its steps are linear, and only the mean of their sum over all positions is wanted.

Nothing between the convolutions of the staircase is nonlinear (see `SuSy`), so each of the 512 means is a weighted sum
of the stages' outputs. Which weight a value gets depends on its channel, and on how its row and its column are met by
the 3×3 kernels and the edges that follow: a few classes of rows, and the same ones of columns. Therefore the values are
summed by class, and the sums multiplied by a matrix that is computed once, in float64. That takes a tenth of the
multiplications, and stores no intermediate results.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.detector.model import SuSy


@dataclass(frozen=True)
class _Functional:
    """C' numbers, each a weighted sum of the values of a stage's output [C, S, S]."""

    rows: Tensor
    """[P, S]: how often each row counts in each of P sums, and likewise each column."""
    weight: Tensor
    """[C, P, P, C']: the weights of the sums over rows p and columns q."""

    def of_constants(self, values: Tensor) -> Tensor:
        """[C'] for an output that is `values` [C] everywhere."""
        counts = self.rows.sum(dim=1)
        sums = values[:, None, None] * torch.outer(counts, counts)
        return sums.flatten() @ self.weight.flatten(0, 2)


class StaircaseMean(nn.Module):
    """From the outputs of the stages to the staircase's part of `SuSy.features`: float32 [N, 512]."""

    def __init__(self, folded: SuSy, size: int) -> None:
        """`folded` without batch normalization; `size` is the side of the first stage's output, a multiple of 8."""
        super().__init__()
        means, last = folded.fc1.in_features, size // 8
        self._constant = torch.zeros(means, dtype=torch.float64)
        self._parts: list[list[tuple[_Functional, Tensor]]] = [[], [], [], []]
        mean = _Functional(
            torch.ones(1, last, dtype=torch.float64),
            torch.eye(means, dtype=torch.float64)[:, None, None] / last**2,
        )
        for level in range(1, 5):
            after = mean
            for stage in range(4, level - 1, -1):  # f14 after f13 after f12 after f11, f24 after f23 after f22, …
                bottleneck = getattr(folded, f"f{level}{stage}")
                after = self._before(bottleneck, after, stage - 1, is_first=stage == level)
        for number, parts in enumerate(self._parts):
            weight = torch.cat([part.weight for part, _ in parts])
            self.register_buffer(f"rows{number}", parts[0][0].rows.float())
            self.register_buffer(f"first{number}", torch.cat([first for _, first in parts]).T.float().contiguous())
            self.register_buffer(f"matrix{number}", weight.permute(1, 2, 0, 3).flatten(0, 2).float().contiguous())
        self.register_buffer("constant", self._constant.float())
        self.constant: Tensor
        del self._constant, self._parts

    def forward(self, *outputs: Tensor) -> Tensor:
        """`outputs`: of the pooled stem and the first three stages, [N, C, S, S] channels last, in any precision."""
        answer = self.constant
        for number, output in enumerate(outputs):
            sums = _sums(output.float(), getattr(self, f"rows{number}")) @ getattr(self, f"first{number}")
            answer = answer + sums.flatten(1) @ getattr(self, f"matrix{number}")
        return answer

    def _before(self, bottleneck: nn.Sequential, after: _Functional, source: int, *, is_first: bool) -> _Functional:
        """Note the weights of the stage output `source`, which enters `bottleneck`; `after` is applied to its result.

        Returns the functional of what enters, unless nothing else does. The first convolution, of size 1×1, has fewer
        outputs than inputs: it is applied to the sums, and not multiplied into the matrix.
        """
        first, *rest = bottleneck
        assert isinstance(first, nn.Conv2d)
        for layer in reversed(rest):
            self._note_bias(layer, after)
            after = _through(layer, after)
        self._note_bias(first, after)
        self._parts[source].append((after, first.weight[..., 0, 0].detach().double()))
        return after if is_first else _through(first, after)

    def _note_bias(self, layer: nn.Module, after: _Functional) -> None:
        if isinstance(layer.bias, Tensor):
            self._constant += after.of_constants(layer.bias.detach().double())


def _through(layer: nn.Module, after: _Functional) -> _Functional:
    """`after` of the layer's output without bias, as a functional of its input."""
    assert isinstance(layer, nn.Conv2d)
    weight = layer.weight.detach().double().transpose(0, 1)
    if layer.kernel_size == (1, 1):
        return _Functional(after.rows, torch.tensordot(weight[..., 0, 0], after.weight, dims=1))
    assert (layer.kernel_size, layer.padding) == ((3, 3), (1, 1))
    (stride, _), count = layer.stride, len(after.rows)
    size = after.rows.shape[1] * stride
    padded = torch.zeros(3, count, size + 2, dtype=torch.float64)
    for offset in range(3):  # the kernel's row `offset` meets row `stride * i + offset` of the padded input
        padded[offset, :, offset : offset + size : stride] = after.rows
    rows, index = padded[..., 1:-1].reshape(3 * count, size).unique(dim=0, return_inverse=True)
    index = index.view(3, count)
    answer = after.weight.new_zeros(len(weight), len(rows), len(rows), after.weight.shape[-1])
    for y in range(3):
        for x in range(3):
            part = torch.tensordot(weight[..., y, x], after.weight, dims=1)
            # Two sums of the output may be the same sum of the input.
            by_column = answer.new_zeros(len(part), count, len(rows), part.shape[-1]).index_add_(2, index[x], part)
            answer.index_add_(1, index[y], by_column)
    return _Functional(rows, answer)


def _sums(output: Tensor, rows: Tensor) -> Tensor:
    """[N, C, S, S], channels last → [N, P · P, C]."""
    count, channels, size, _ = output.shape
    by_row = rows @ output.permute(0, 2, 3, 1).reshape(count, size, size * channels)
    return (rows @ by_row.view(-1, size, channels)).view(count, -1, channels)
