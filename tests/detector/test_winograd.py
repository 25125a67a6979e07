"""The convolution with fewer multiplications: the direct one's result, for every size and whatever follows it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from worker.detector import winograd

CHANNELS, OUTPUTS = 8, 12


@pytest.mark.parametrize("size", [(4, 4), (7, 7), (14, 14), (9, 30), (1, 5)])
@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("is_added", [False, True])
def test_the_result_is_that_of_the_direct_form(size: tuple[int, int], count: int, relu: bool, is_added: bool) -> None:
    torch.manual_seed(count)
    tiles = torch.randn(count, CHANNELS, *size).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(OUTPUTS, CHANNELS, 3, 3), torch.randn(OUTPUTS)
    added = torch.randn(count, OUTPUTS, *size).contiguous(memory_format=torch.channels_last) if is_added else None
    kept = None if added is None else added.clone()
    found = winograd.convolve(tiles, winograd.transform_weight(weight), bias, added, relu=relu)
    expected = functional.conv2d(tiles.double(), weight.double(), bias.double(), padding=1)
    expected = expected if added is None else expected + added
    expected = functional.relu(expected) if relu else expected
    assert found.shape == expected.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max() * CHANNELS
    assert kept is None or torch.equal(kept, added), "what is added belongs to the caller"


def test_the_points_round_less_than_the_usual_ones() -> None:
    """With 0, ±1, ±2 and infinity the error is 2.7e-7 of the largest value, too much for steep weights."""
    torch.manual_seed(1)
    tiles = torch.rand(4, 256, 12, 12).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(32, 256, 3, 3) * 0.05
    found = winograd.convolve(tiles, winograd.transform_weight(weight), torch.zeros(32), relu=False)
    expected = functional.conv2d(tiles.double(), weight.double(), padding=1)
    assert (found - expected).square().mean().sqrt() <= 1.8e-7 * expected.abs().max()
