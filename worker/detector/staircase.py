"""The staircase on sums of rows and columns: its steps are linear, and only the mean of their sum is wanted.

Nothing between the convolutions of the staircase is nonlinear (see `SuSy`). A sum over rows of a convolution's output
is made of sums over rows of its input, one for each row of the kernel, and so is that input's. The mean at the end, a
sum over all rows and columns, therefore needs no more than a few sums of each stage's output: over 17 sets of rows at
the first stage, 15 at the second, 7 and 3, and likewise of columns. Each output is summed first, and the convolutions
of the staircase are applied to the sums. That takes a hundredth of their multiplications, and their weights as they
are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worker.detector.model import SuSy

LEVELS = 4


class StaircaseMean(nn.Module):
    """From the outputs of the stages to the staircase's part of `SuSy.features`: float32 [N, 512]."""

    def __init__(self, folded: SuSy, size: int) -> None:
        """`folded` without batch normalization; `size` is the side of the first stage's output, a multiple of 8."""
        super().__init__()
        last = size // 8
        rows = torch.full((1, last), 1 / last)  # the mean over one side
        steps: list[nn.Module] = []
        for stage in range(LEVELS, 0, -1):  # from the mean back to the sums that it needs of each output
            levels = [getattr(folded, f"f{level}{stage}") for level in range(1, stage + 1)]
            before, index = _rows_before(rows, levels[0][1].stride[0])
            # Of each pair of sums (over rows, over columns) after the kernel, the nine pairs before it.
            places = len(before) * index.T[:, None, :, None] + index.T[None, :, None, :]
            first, middle, end = zip(*levels, strict=True)
            steps.append(
                nn.Sequential(
                    _ConvolutionOfSums(first, before),
                    _ConvolutionOfSums(middle, rows, places.flatten()),
                    _ConvolutionOfSums(end, rows),
                )
            )
            self.register_buffer(f"rows{stage}", before)
            rows = before
        self.steps = nn.ModuleList(reversed(steps))

    def forward(self, *outputs: Tensor) -> Tensor:
        """`outputs`: of the pooled stem and the first three stages, [N, C, S, S] channels last, in any precision."""
        levels = outputs[0].new_empty(0)
        for stage, (step, output) in enumerate(zip(self.steps, outputs, strict=True), 1):
            sums = _sums(output.float(), getattr(self, f"rows{stage}"))[None]
            levels = step(sums if stage == 1 else torch.cat([levels + sums, sums]))  # each stage begins a level
        return levels.sum(dim=0)[:, 0]


class _ConvolutionOfSums(nn.Module):
    """One convolution of each of L levels: sums [L, N, P · P, C] of its input → [L, N, Q · Q, C'] of its output."""

    places: Tensor | None

    def __init__(self, levels: Sequence[nn.Conv2d], rows: Tensor, places: Tensor | None = None) -> None:
        """`rows` [Q, S]: how often each row of the output counts in each sum, and likewise each column. `places`
        [Q · Q · 9] are the sums of the input that a 3×3 kernel meets; None for a kernel of size 1×1."""
        super().__init__()
        counts = rows.sum(dim=1)
        self.register_buffer("places", places, persistent=False)
        weights = [level.weight.detach().permute(2, 3, 1, 0).flatten(0, 2) for level in levels]
        self.register_buffer("weight", torch.stack(weights))
        biases = torch.stack([level.bias.detach() for level in levels if level.bias is not None])
        self.register_buffer("added", torch.outer(counts, counts).view(-1, 1) * biases[:, None, None])
        self.weight: Tensor
        self.added: Tensor

    def forward(self, sums: Tensor) -> Tensor:
        if self.places is not None:
            sums = sums.index_select(2, self.places)
        levels, _, pairs, channels = self.added.shape
        products = torch.bmm(sums.view(levels, -1, self.weight.shape[1]), self.weight)
        return products.view(levels, -1, pairs, channels) + self.added


def _rows_before(rows: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """The sums over rows that a 3×3 convolution needs of its input for sums over `rows` [Q, S] of its output.

    Returns how often each row of the input counts in each of them [P, S · stride], and which of them the kernel's three
    rows meet, [3, Q].
    """
    count, size = rows.shape
    padded = torch.zeros(3, count, size * stride + 2)
    for offset in range(3):  # the kernel's row `offset` meets row `stride * i + offset` of the padded input
        padded[offset, :, offset : offset + size * stride : stride] = rows
    before, index = padded[..., 1:-1].reshape(3 * count, -1).unique(dim=0, return_inverse=True)
    return before, index.view(3, count)


def _sums(output: Tensor, rows: Tensor) -> Tensor:
    """[N, C, S, S], channels last → [N, P · P, C]."""
    count, channels, size, _ = output.shape
    by_row = rows @ output.permute(0, 2, 3, 1).reshape(count, size, size * channels)
    return (rows @ by_row.view(-1, size, channels)).view(count, -1, channels)
