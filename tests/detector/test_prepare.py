"""The network as workers run it: as exact as its precision allows, on real tiles."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from schema.scan import ModelIdentity, Precision
from tests.support.real_tiles import real_tiles
from worker.demo import DEMO_WEIGHTS
from worker.detector import prepare as prepare_module
from worker.detector.detector import Detector
from worker.detector.model import SuSy
from worker.detector.prepare import (
    LARGEST_DIFFERENCE,
    LARGEST_MEAN_DIFFERENCE,
    PreparedSuSy,
    choose_precision,
    fold,
    offered_precisions,
    prepare,
)
from worker.detector.weights import WeightsInfo, load_weights
from worker.errors import ErrorCode, SetupError
from worker.settings import load_settings

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
ALLOWED = 1e-5
STEEPEST = 0.06
"""How far a reduced precision may change a probability with the demonstration weights."""
ON_CPU = offered_precisions(CPU)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def prepared(susy: SuSy) -> PreparedSuSy:
    return prepare(susy, CPU)


@pytest.fixture(scope="module")
def textures(tiles: Tensor) -> Tensor:
    """Six tiles with the spectrum of photographs, float32 [6, 3, 224, 224] in 0..1: the last of the parity tiles."""
    return tiles[-6:]


def some_real_tiles(every: int) -> Tensor:
    """One of `every` tiles of the samples, float32 [T, 3, 224, 224] in 0..1, laid out channels last."""
    return torch.from_numpy(np.stack(real_tiles()[::every])).permute(0, 3, 1, 2).float().div_(255)


def answer(network: nn.Module, tiles: Tensor, device: torch.device = CPU, batch: int = 16) -> Tensor:
    with torch.inference_mode():
        return torch.cat([network(part.to(device)).cpu() for part in tiles.split(batch)])


def weights_of(network: PreparedSuSy) -> list[Tensor]:
    """All that the network keeps, kernels in the order of oneDNN included."""
    kernels = [kernel for part in network.modules() for kernel in getattr(part, "kernels", [])]
    return [*network.parameters(), *network.buffers(), *kernels]


def as_dense(weight: Tensor) -> Tensor:
    return weight.to_dense() if weight.is_mkldnn else weight


def assert_within_tolerance(answers: Tensor, exact: Tensor) -> None:
    difference = (answers - exact).abs()
    assert float(difference.max()) <= STEEPEST
    assert float(difference[:, 0].mean()) <= LARGEST_MEAN_DIFFERENCE


def test_folding_leaves_no_normalization_and_the_original_alone(susy: SuSy, prepared: PreparedSuSy) -> None:
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in susy.modules()) == 20
    assert not prepared.training
    assert not any(parameter.requires_grad for parameter in prepared.parameters())
    assert {tensor.dtype for tensor in prepared.state_dict().values()} == {torch.float32}


def test_a_network_shares_no_memory_with_the_original_and_another_one_is_the_same_bit_for_bit(
    susy: SuSy, prepared: PreparedSuSy, textures: Tensor
) -> None:
    own = {tensor.untyped_storage().data_ptr() for tensor in (*susy.parameters(), *susy.buffers())}
    weights = weights_of(prepared)
    assert own.isdisjoint(weight.untyped_storage().data_ptr() for weight in weights if not weight.is_mkldnn)
    again = prepare(susy, CPU)
    pairs = zip(weights, weights_of(again), strict=True)
    assert all(torch.equal(as_dense(weight), as_dense(other)) for weight, other in pairs)
    assert torch.equal(answer(prepared, textures), answer(again, textures))


def test_a_network_that_consumes_the_original_answers_the_same_and_leaves_little_of_it(
    susy: SuSy, prepared: PreparedSuSy, textures: Tensor
) -> None:
    original = copy.deepcopy(susy)
    assert torch.equal(answer(prepare(original, CPU, consumes=True), textures), answer(prepared, textures))
    assert sum(tensor.nbytes for tensor in original.state_dict().values()) < 5_000_000
    assert sum(tensor.nbytes for tensor in susy.state_dict().values()) > 48_000_000


def test_a_network_takes_no_more_memory_than_the_transformed_weights(prepared: PreparedSuSy) -> None:
    sizes = [weight.numel() * weight.element_size() for weight in weights_of(prepared)]
    kernels = [size for size, weight in zip(sizes, weights_of(prepared), strict=True) if weight.shape[2:] == (1, 3)]
    assert len(kernels) == 13 * 9
    assert sum(kernels) < 114_000_000
    assert sum(sizes) - sum(kernels) < 15_000_000, "the rest of the network, nothing twice"


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [1, 5, 16])
def test_float32_answers_as_the_original_whatever_the_layout_and_the_batch(
    layout: torch.memory_format, batch: int, prepared: PreparedSuSy, tiles: Tensor, answers: Tensor
) -> None:
    some = slice(-2 * batch, None)
    found = answer(prepared, tiles[some].contiguous(memory_format=layout), batch=batch)
    assert (found - answers[some]).abs().max() <= ALLOWED


@pytest.mark.parametrize("precision", ON_CPU)
def test_the_answer_does_not_depend_on_what_else_is_in_the_batch(
    precision: Precision, susy: SuSy, textures: Tensor
) -> None:
    network = prepare(susy, CPU, precision)
    together = answer(network, textures)
    for batch in (1, 5):
        assert (answer(network, textures, batch=batch) - together).abs().max() <= ALLOWED


@pytest.mark.parametrize("precision", ON_CPU)
def test_threads_that_share_a_network_get_the_answers_of_one(
    precision: Precision, susy: SuSy, textures: Tensor
) -> None:
    network = prepare(susy, CPU, precision)
    expected = answer(network, textures)
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda _: answer(network, textures), range(6)):
            assert (found - expected).abs().max() <= ALLOWED


@pytest.mark.parametrize("precision", ON_CPU)
def test_convolutions_that_are_not_fused_answer_the_same(
    precision: Precision, susy: SuSy, textures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = answer(prepare(susy, CPU, precision), textures)
    monkeypatch.setattr(prepare_module, "_fuses", lambda _dtype: False)
    plain = answer(prepare(susy, CPU, precision), textures)
    assert (fused - plain).abs().max() <= (ALLOWED if precision is Precision.FLOAT32 else LARGEST_DIFFERENCE)


@pytest.mark.parametrize("precision", ON_CPU)
def test_the_temperature_is_kept(precision: Precision, susy: SuSy, textures: Tensor) -> None:
    warm = copy.deepcopy(susy)
    warm.temperature = 2.5
    with torch.inference_mode():
        expected = torch.softmax(warm.logits(textures) / 2.5, dim=1)
    assert (answer(prepare(warm, CPU, precision), textures) - expected).abs().max() <= LARGEST_DIFFERENCE


def test_bfloat16_keeps_the_first_convolution_and_the_end_in_float32() -> None:
    """The demonstration weights are too steep for the limit of `auto` (0.03 on single tiles): it gives them float32."""
    model, info = load_weights(DEMO_WEIGHTS)
    tiles = some_real_tiles(every=24)
    exact = answer(model, tiles)
    network = prepare(model, CPU, Precision.BFLOAT16)
    assert_within_tolerance(answer(network, tiles), exact)
    assert choose_precision("auto", CPU, info.precision_differences) is Precision.FLOAT32
    assert network.stem.weight.dtype == torch.float32, "the signal is lost when the first convolution is rounded"
    stages = [part.weight.dtype for part in network.stages.modules() if hasattr(part, "weight")]
    assert set(stages) == {torch.bfloat16}
    assert {weight.dtype for weight in network.staircase.state_dict().values()} == {torch.float32}
    assert network.fc1.weight.dtype == torch.float32


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("precision", Precision)
def test_each_precision_stays_within_its_tolerance_on_cuda(precision: Precision) -> None:
    model, _ = load_weights(DEMO_WEIGHTS)
    tiles = some_real_tiles(every=1)
    network = prepare(model, CUDA, precision)
    found = answer(network, tiles, CUDA, batch=128)
    exact = answer(model.to(CUDA), tiles, CUDA, batch=64)  # TF32 is off since `prepare`
    assert found.dtype == torch.float32
    if precision is Precision.FLOAT32:
        assert float((found - exact).abs().max()) <= ALLOWED
    assert_within_tolerance(found, exact)


@pytest.mark.gpu
@needs_gpu
def test_float32_on_cuda_answers_as_on_a_cpu(susy: SuSy, tiles: Tensor, answers: Tensor) -> None:
    assert (answer(prepare(susy, CUDA), tiles, CUDA) - answers).abs().max() <= ALLOWED


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ({"avx512f", "amx_bf16"}, Precision.BFLOAT16),
        ({"avx512f", "avx512_bf16"}, Precision.BFLOAT16),
        ({"avx512f", "avx2"}, Precision.FLOAT32),
        (set(), Precision.FLOAT32),
    ],
)
def test_auto_takes_bfloat16_on_processors_with_instructions_for_it(
    flags: set[str], precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "processor_flags", lambda: frozenset(flags))
    measured = {"cpu/bfloat16": 0.003}
    assert choose_precision("auto", CPU, measured) is precision
    assert choose_precision("auto", CUDA, measured) is Precision.FLOAT16
    for name in ("float32", "bfloat16"):
        assert choose_precision(name, CPU, {}) == choose_precision(name, CUDA, {}) == name


@pytest.mark.parametrize(
    ("measured", "on_a_cpu", "on_a_gpu"),
    [
        ({}, Precision.FLOAT32, Precision.FLOAT32),
        ({"cpu/float32": 0.0, "cpu/bfloat16": 0.007}, Precision.FLOAT32, Precision.FLOAT32),
        ({"cpu/bfloat16": float("nan")}, Precision.FLOAT32, Precision.FLOAT32),
        ({"cpu/bfloat16": 0.007, "cuda/float16": 0.001}, Precision.FLOAT32, Precision.FLOAT16),
        ({"cpu/bfloat16": 0.005}, Precision.BFLOAT16, Precision.FLOAT16),
    ],
)
def test_auto_reduces_the_precision_only_for_weights_that_keep_their_accuracy(
    measured: dict[str, float], on_a_cpu: Precision, on_a_gpu: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "processor_flags", lambda: frozenset({"amx_bf16"}))
    assert choose_precision("auto", CPU, measured) is on_a_cpu
    assert choose_precision("auto", CUDA, measured) is on_a_gpu


@pytest.mark.parametrize("stored", [None, [], 3, {"cpu/bfloat16": "0.001"}, {"cpu/bfloat16": None}])
def test_a_measurement_that_is_none_counts_as_none(stored: object) -> None:
    info = WeightsInfo("n", "1", ("a", "b"), "0", 1, {"precision_differences": stored})
    assert info.precision_differences == {}


def test_float16_is_refused_on_a_cpu() -> None:
    with pytest.raises(SetupError, match="SUSY_PRECISION=float16 needs a CUDA device") as refused:
        choose_precision("float16", CPU, {})
    assert refused.value.code is ErrorCode.DEVICE_UNAVAILABLE


@pytest.mark.parametrize("precision", ON_CPU)
def test_the_precision_is_part_of_the_detector_s_identity(precision: Precision) -> None:
    with Detector(load_settings(weights="demo", device="cpu", precision=str(precision))) as detector:
        info = load_weights(DEMO_WEIGHTS)[1]
        assert detector.identity == ModelIdentity(info.name, info.sha256, info.classes, True, precision)


def test_folding_alone_keeps_the_answers(susy: SuSy, textures: Tensor, answers: Tensor) -> None:
    assert (answer(fold(copy.deepcopy(susy)), textures) - answers[-6:]).abs().max() <= ALLOWED


def test_tiles_cut_from_an_image_are_laid_out_channels_last_already() -> None:
    cut_tiles = torch.zeros(4, 224, 224, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    assert cut_tiles.is_contiguous(memory_format=torch.channels_last)


def test_a_normalization_without_a_convolution_before_it_is_not_guessed_at() -> None:
    with pytest.raises(TypeError, match="1 does not follow a convolution"):
        fold(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)))
