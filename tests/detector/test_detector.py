import copy

import pytest
import torch
from torch import Tensor, nn

from worker.detector.detector import fold, prepare
from worker.detector.model import SuSy

CPU = torch.device("cpu")
ALLOWED = 1e-5


@pytest.fixture(scope="module")
def prepared(susy: SuSy) -> nn.Module:
    return prepare(susy, CPU)


def test_folding_leaves_no_normalization_and_the_original_alone(susy: SuSy, prepared: nn.Module) -> None:
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in susy.modules()) == 20
    assert not prepared.training
    assert not any(parameter.requires_grad for parameter in prepared.parameters())
    assert {parameter.dtype for parameter in prepared.parameters()} == {torch.float32}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_folded_network_answers_the_same_whatever_the_layout(
    layout: torch.memory_format, prepared: nn.Module, tiles: Tensor, answers: Tensor
) -> None:
    with torch.inference_mode():
        assert (prepared(tiles.contiguous(memory_format=layout)) - answers).abs().max() <= ALLOWED


def test_a_prepared_network_keeps_the_temperature(susy: SuSy, tiles: Tensor) -> None:
    warm = copy.deepcopy(susy)
    warm.temperature = 2.5
    with torch.inference_mode():
        assert (prepare(warm, CPU)(tiles) - torch.softmax(warm.logits(tiles) / 2.5, dim=1)).abs().max() <= ALLOWED


def test_folding_alone_keeps_the_answers(susy: SuSy, tiles: Tensor, answers: Tensor) -> None:
    with torch.inference_mode():
        assert (fold(copy.deepcopy(susy))(tiles) - answers).abs().max() <= ALLOWED


def test_tiles_cut_from_an_image_are_laid_out_channels_last_already() -> None:
    cut = torch.zeros(4, 224, 224, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    assert cut.is_contiguous(memory_format=torch.channels_last)


def test_a_normalization_without_a_convolution_before_it_is_not_guessed_at() -> None:
    with pytest.raises(TypeError, match="1 does not follow a convolution"):
        fold(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_half_precision_on_cuda_agrees_with_float32(susy: SuSy, tiles: Tensor, answers: Tensor) -> None:
    device = torch.device("cuda")
    network = prepare(susy, device)
    with torch.inference_mode():
        answer = network(tiles.to(device, torch.float16, memory_format=torch.channels_last))
    assert answer.dtype == torch.float32
    assert (answer.cpu() - answers).abs().max() < 5e-3
