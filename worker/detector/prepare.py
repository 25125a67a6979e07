"""The network as workers run it: prepared for one device and one precision.

Every batch normalization is folded into the convolution before it: in evaluation mode both are linear. Weights are laid
out channels last, the layout that tiles cut from an image already have, and the fastest for convolutions on both kinds
of device. The staircase, which is linear too, is applied to sums (`staircase.py`). On a CPU, oneDNN adds the shortcut
and applies the activation within the convolution, so that each intermediate result is written once; in float32, most
3×3 convolutions have fewer multiplications (`winograd.py`). Probabilities then stay within 1e-5 of the original
network's.

In a reduced precision the first convolution stays in float32, because what SuSy reads is faint high-frequency noise
that half precision rounds away: all in bfloat16, a probability of a real tile changes by up to 0.06. So do the
staircase and the MLP, whose cost is small. How much is left depends on the weights (`bench/precision.py`):
it is measured when they are imported, and `auto` reduces the precision only where it is within `LARGEST_DIFFERENCE`.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from schema.scan import TILE, Precision
from worker.detector.model import BasicBlock, SuSy
from worker.detector.staircase import StaircaseMean
from worker.detector.winograd import WinogradConvolution
from worker.errors import ConfigurationError, ErrorCode
from worker.machine.memory import trim_heap

LARGEST_DIFFERENCE, LARGEST_MEAN_DIFFERENCE = 5e-3, 1e-3
"""How far a reduced precision may change a probability of a real tile, and the score of one on average."""

_FAST_BFLOAT16 = {"amx_bf16", "avx512_bf16"}
"""Processor flags with which bfloat16 is faster than float32: about 4 times with AMX, 1.7 times with AVX-512."""


def choose_precision(name: str, device: torch.device, measured: Mapping[str, float]) -> Precision:
    """The precision for `SUSY_PRECISION` on `device`.

    `auto` is float16 on CUDA and bfloat16 on a CPU with instructions for it, provided that the weights keep their
    accuracy, and float32 elsewhere. `measured` is what the weights file says about that: the largest change of a
    probability by device and precision (`precision_differences` of its provenance). Since it follows from the machine
    and the file alone, a restart never changes it. Raises `ConfigurationError` (`device_unavailable`) for float16 on a
    CPU.
    """
    on_cuda = device.type == "cuda"
    if name == "auto":
        if on_cuda and _keeps_accuracy(measured, Precision.FLOAT16, Precision.BFLOAT16):
            return Precision.FLOAT16
        if not on_cuda and _FAST_BFLOAT16 & processor_flags() and _keeps_accuracy(measured, Precision.BFLOAT16):
            return Precision.BFLOAT16
        return Precision.FLOAT32
    precision = Precision(name)
    if precision is Precision.FLOAT16 and not on_cuda:
        raise ConfigurationError(
            ErrorCode.DEVICE_UNAVAILABLE,
            "SUSY_PRECISION=float16 needs a CUDA device; set it to auto, float32 or bfloat16",
        )
    return precision


def _keeps_accuracy(measured: Mapping[str, float], *precisions: Precision) -> bool:
    """Whether one of `precisions`, on any device, was measured to be within the limit. What holds in bfloat16 holds in
    float16, which has more digits."""
    names = {str(precision) for precision in precisions}
    return any(change <= LARGEST_DIFFERENCE for key, change in measured.items() if key.rpartition("/")[2] in names)


def offered_precisions(device: torch.device) -> tuple[Precision, ...]:
    """Every precision that can be chosen on `device`, float32 first."""
    return tuple(Precision) if device.type == "cuda" else (Precision.FLOAT32, Precision.BFLOAT16)


def use_tf32(allowed: bool) -> None:
    """Whether convolutions in float32 may use TF32 on CUDA, in this process.

    torch allows it by default. TF32 has the digits of float16, with which the first convolution loses what it reads.
    """
    convolution = getattr(torch.backends.cudnn, "conv", None)
    if convolution is not None and hasattr(convolution, "fp32_precision"):
        convolution.fp32_precision = "tf32" if allowed else "ieee"
    else:  # torch before 2.9
        torch.backends.cudnn.allow_tf32 = allowed


@functools.cache
def processor_flags() -> frozenset[str]:
    """The processor's features as Linux names them; none elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    return frozenset(flags.split())


def prepare(
    model: SuSy, device: torch.device, precision: Precision = Precision.FLOAT32, *, consumes: bool = False
) -> PreparedSuSy:
    """A copy of `model` for inference on `device`, that shares no memory with it.

    The original is left as it is, unless the copy `consumes` it: then its blocks are removed from it one by one as they
    are copied, so that the process never holds both.
    On CUDA, TF32 is no longer used for convolutions in this process.
    """
    if device.type == "cuda":
        use_tf32(False)
    # The order in which oneDNN reads weights depends on the number of threads among which it divides a convolution. The
    # engine gives each pass one thread; weights in another order would be reordered at each call.
    with torch_threads(1):
        return PreparedSuSy(model, device, precision, consumes=consumes).to(device)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Have PyTorch divide what this thread computes among `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class PreparedSuSy(nn.Module):
    """`SuSy` for inference, in any precision. Float32 tiles [N, 3, 224, 224] in 0..1 → probabilities float32 [N, C].

    Safe to call from several threads at once.
    """

    def __init__(self, model: SuSy, device: torch.device, precision: Precision, *, consumes: bool = False) -> None:
        super().__init__()
        self.temperature = model.temperature
        self.dtype: torch.dtype = getattr(torch, precision)
        make = _maker(device, self.dtype)
        self._stem_batch = 1 if device.type == "cpu" else sys.maxsize
        stem = folded(nn.Sequential(model.conv1, model.bn1))[0]
        self.stem = _maker(device, torch.float32)(stem, torch.float32, TILE, relu=True)
        stages: list[nn.Sequential] = []
        layers = ((model.layer4, 16), (model.layer3, 8), (model.layer2, 4), (model.layer1, 4))
        for stage, divisor in layers:  # the largest while the least is held
            stages.insert(0, nn.Sequential())
            width = TILE // divisor
            for number, source in enumerate(stage):
                block = _Block(folded(source), make, self.dtype, width)
                stages[0].append(block)
                width = block.width
                if consumes:
                    stage[number] = nn.Identity()
                    trim_heap()
        self.stages = nn.ModuleList(stages)
        self.staircase = StaircaseMean(model, TILE // 4)
        self.fc1, self.fc2, self.fc3 = (copy.deepcopy(layer) for layer in (model.fc1, model.fc2, model.fc3))
        self.eval().requires_grad_(False)

    def forward(self, tiles: Tensor) -> Tensor:
        return torch.softmax(self.logits(tiles) / self.temperature, dim=1)

    def logits(self, tiles: Tensor) -> Tensor:
        """The scores before temperature and softmax, float32 [N, C]."""
        x = functional.relu(self.fc1(self.features(tiles)))
        x = functional.relu(self.fc2(x))
        return self.fc3(x)  # type: ignore[no-any-return]

    def features(self, tiles: Tensor) -> Tensor:
        """The mean of the staircase's levels and the last stage, summed, float32 [N, 512]; see `SuSy.features`."""
        # One after the other: the stem's output is the largest of all, and still in the cache when it is pooled.
        parts = [functional.max_pool2d(self.stem(part), 3, 2, padding=1) for part in tiles.split(self._stem_batch)]
        x0 = torch.cat(parts).to(self.dtype)
        x1 = self.stages[0](x0)
        x2 = self.stages[1](x1)
        x3 = self.stages[2](x2)
        x4 = self.stages[3](x3)
        answer: Tensor = self.staircase(x0, x1, x2, x3) + x4.float().mean(dim=(2, 3))
        return answer


class _Convolution(nn.Module):
    """A convolution of square images, after which something is added and negative values become 0, each if wanted."""

    bias: Tensor | None

    def __init__(self, source: nn.Module, dtype: torch.dtype, _width: int, *, relu: bool = False) -> None:
        super().__init__()
        assert isinstance(source, nn.Conv2d)
        assert isinstance(source.padding, tuple)
        self.stride, self.padding, self.relu = list(source.stride), list(source.padding), relu
        weight = source.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", None if source.bias is None else source.bias.detach().to(dtype))
        self.weight: Tensor

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        answer = functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        if added is not None:
            answer += added
        return answer.relu_() if self.relu else answer


class _OneDnnConvolution(_Convolution):
    """The same in one call of oneDNN, by the operators that torch's own compiler generates calls of.

    It gets its weights in the order in which it reads them, which depends on the images' width and on the number of
    threads (`prepare`). Otherwise it would bring them into that order at each call.
    """

    def __init__(self, source: nn.Module, dtype: torch.dtype, width: int, *, relu: bool = False) -> None:
        super().__init__(source, dtype, width, relu=relu)
        size = [1, self.weight.shape[1], width, width]
        order = torch.ops.mkldnn._reorder_convolution_weight
        self.weight = order(self.weight, self.padding, self.stride, [1, 1], 1, size)

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        operator = torch.ops.mkldnn._convolution_pointwise
        common = (self.weight, self.bias, self.padding, self.stride, [1, 1], 1)
        if added is None:
            return operator(x, *common, "relu" if self.relu else "none", [], "")  # type: ignore[no-any-return]
        after = "relu" if self.relu else None
        return operator.binary(x, added, *common, "add", 1.0, after, [], "")  # type: ignore[no-any-return]


Layers = TypeVar("Layers", bound=nn.Module)
_Maker = Callable[..., nn.Module]
"""Makes the convolution for inference of a convolution, a data type, the width of its images and `relu`."""


def _maker(device: torch.device, dtype: torch.dtype) -> _Maker:
    if device.type != "cpu":
        return _Convolution
    return _make_for_onednn if _fuses(dtype) else _Convolution


def _make_for_onednn(source: nn.Module, dtype: torch.dtype, width: int, *, relu: bool = False) -> nn.Module:
    assert isinstance(source, nn.Conv2d)
    is_plain = (source.kernel_size, source.stride, source.padding) == ((3, 3), (1, 1), (1, 1))
    if is_plain and dtype == torch.float32:
        return WinogradConvolution(source, width, relu=relu)
    return _OneDnnConvolution(source, dtype, width, relu=relu)


class _Block(nn.Module):
    """The residual block, see `BasicBlock`, for images of this width."""

    def __init__(self, block: nn.Module, make: _Maker, dtype: torch.dtype, width: int) -> None:
        super().__init__()
        assert isinstance(block, BasicBlock)
        self.width = width // block.conv1.stride[0]
        """That of its answers."""
        self.conv1 = make(block.conv1, dtype, width, relu=True)
        self.conv2 = make(block.conv2, dtype, self.width, relu=True)
        shortcut = block.downsample
        self.downsample = make(shortcut[0], dtype, width) if isinstance(shortcut, nn.Sequential) else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.conv2(self.conv1(x), shortcut)  # type: ignore[no-any-return]


@functools.cache
def _fuses(dtype: torch.dtype) -> bool:
    """Whether oneDNN's fused convolutions work here: they are not part of every build of torch, nor for every CPU."""
    if not torch.backends.mkldnn.is_available():
        return False
    layer = nn.Conv2d(8, 8, 3, padding=1)
    tiles = torch.linspace(-1, 1, 8 * 64).view(1, 8, 8, 8).to(dtype).contiguous(memory_format=torch.channels_last)
    try:
        with torch.inference_mode():
            fused = _OneDnnConvolution(layer, dtype, 8, relu=True)(tiles, tiles)
            plain = _Convolution(layer, dtype, 8, relu=True)(tiles, tiles)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return bool(torch.allclose(fused.float(), plain.float(), atol=0.05))


def folded(layers: Layers) -> Layers:
    """A copy of `layers` in evaluation mode without normalizations; what is not folded shares its tensors."""
    shared = {id(tensor): tensor for tensor in (*layers.parameters(), *layers.buffers())}
    return fold(copy.deepcopy(layers, shared).eval())


def fold(module: Layers) -> Layers:
    """Fold, in place, each batch normalization of `module` into the convolution registered before it.

    The network registers its layers in the order in which it runs them, so the convolution before is the one whose
    output the normalization receives. Raises `TypeError` for a normalization without a convolution before it.
    """
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            if before is None or not isinstance(before[1], nn.Conv2d):
                raise TypeError(f"{name} does not follow a convolution")
            convolution, mean, variance = before[1], child.running_mean, child.running_var
            assert mean is not None
            assert variance is not None
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                convolution.weight, convolution.bias, mean, variance, child.eps, child.weight, child.bias
            )
            setattr(module, name, nn.Identity())
        else:
            fold(child)
        before = name, child
    return module
