"""The convolution with fewer multiplications: the direct one's result, for every size and whatever follows it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.detector.winograd import WinogradConvolution

CHANNELS, OUTPUTS = 8, 12


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("size", [(7, 7), (14, 14), (56, 9), (7, 1), (21, 30)])
@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("is_added", [False, True])
def test_the_result_is_that_of_the_direct_form(size: tuple[int, int], count: int, relu: bool, is_added: bool) -> None:
    torch.manual_seed(count)
    images = torch.randn(count, CHANNELS, *size).contiguous(memory_format=torch.channels_last)
    source = nn.Conv2d(CHANNELS, OUTPUTS, 3, padding=1, bias=relu)
    added = torch.randn(count, OUTPUTS, *size).contiguous(memory_format=torch.channels_last) if is_added else None
    kept = None if added is None else added.clone()
    found = WinogradConvolution(source, size[1], relu=relu)(images, added)
    expected = source.double()(images.double())
    expected = expected if added is None else expected + added
    expected = functional.relu(expected) if relu else expected
    assert found.shape == expected.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max() * CHANNELS
    assert kept is None or torch.equal(kept, added), "what is added belongs to the caller"


def test_the_points_round_little() -> None:
    """With ±1, ±2, ±3, ±4 and infinity the error is 7e-5 of the largest value, with ±1, ±½, ±2, ±3 it is 2.7e-6."""
    torch.manual_seed(1)
    images = torch.rand(4, 256, 14, 14).contiguous(memory_format=torch.channels_last)
    source = nn.Conv2d(256, 32, 3, padding=1)
    found = WinogradConvolution(source, 14)(images)
    expected = source.double()(images.double())
    assert (found - expected).square().mean().sqrt() <= 7e-7 * expected.abs().max()


def test_threads_share_one_convolution() -> None:
    torch.manual_seed(1)
    batches = [torch.rand(count, 64, 14, 14).contiguous(memory_format=torch.channels_last) for count in (1, 5, 16) * 8]
    shared = WinogradConvolution(nn.Conv2d(64, 64, 3, padding=1), 14, relu=True)
    expected = [shared(batch) for batch in batches]

    def again(batch: Tensor) -> Tensor:
        with torch.inference_mode():
            answer: Tensor = shared(batch)
        return answer

    with ThreadPoolExecutor(3) as pool:
        assert all(torch.equal(found, answer) for found, answer in zip(pool.map(again, batches), expected, strict=True))
