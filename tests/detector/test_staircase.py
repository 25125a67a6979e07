"""The staircase as one matrix: the sum of its levels, averaged, for every input."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from worker.detector.model import SuSy
from worker.detector.prepare import fold
from worker.detector.staircase import StaircaseMean

SIDE = 16
CHANNELS = (64, 64, 128, 256)


@pytest.fixture(scope="module")
def folded(susy: SuSy) -> SuSy:
    model = fold(copy.deepcopy(susy).eval()).requires_grad_(False)
    assert isinstance(model, SuSy)
    return model


def step_by_step(model: SuSy, x0: Tensor, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
    level1 = model.f14(model.f13(model.f12(model.f11(x0) + x1) + x2) + x3)
    level2 = model.f24(model.f23(model.f22(x1) + x2) + x3)
    level3 = model.f34(model.f33(x2) + x3)
    summed: Tensor = level1 + level2 + level3 + model.f44(x3)
    return summed.mean(dim=(2, 3))


def outputs_of_stages(count: int) -> list[Tensor]:
    torch.manual_seed(count)
    sides = (SIDE, SIDE, SIDE // 2, SIDE // 4)
    return [torch.randn(count, channels, side, side) for channels, side in zip(CHANNELS, sides, strict=True)]


def test_the_matrix_gives_what_the_steps_give(folded: SuSy) -> None:
    outputs = outputs_of_stages(3)
    found = StaircaseMean(folded, SIDE)(*outputs)
    expected = step_by_step(copy.deepcopy(folded).double(), *(output.double() for output in outputs))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("stage", range(4))
def test_every_value_counts_as_it_does_in_the_steps(stage: int, folded: SuSy) -> None:
    """A single value at each place in turn: corners, edges and the inside are classes of their own."""
    matrix, exact = StaircaseMean(folded, SIDE), copy.deepcopy(folded).double()
    side = (SIDE, SIDE, SIDE // 2, SIDE // 4)[stage]
    places = [(0, 0), (1, 0), (side - 1, side - 1), (side // 2, side - 1), (side // 2, side // 2 + 1)]
    outputs = [torch.zeros_like(output).repeat(len(places), 1, 1, 1) for output in outputs_of_stages(1)]
    for number, (y, x) in enumerate(places):
        outputs[stage][number, number, y, x] = 100.0
    expected = step_by_step(exact, *(output.double() for output in outputs))
    assert (expected[0] - expected[1]).abs().max() > 1e-4, "the places count alike; the test shows nothing"
    assert (matrix(*outputs) - expected).abs().max() <= 1e-5 * expected.abs().max()
