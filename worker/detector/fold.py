"""The network as it runs: normalization folded into convolutions, laid out for the device."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from worker.detector.model import SuSy


def prepare(model: SuSy, device: torch.device) -> nn.Module:
    """A copy of `model` for inference on `device`; the original is left as it is.

    Every batch normalization is folded into the convolution before it: in evaluation mode both are
    linear. Weights are laid out channels last, which is what tiles cut from an image already are, and
    what the convolutions of both devices are fastest with (`bench/forward.py`). On a CPU everything stays
    float32 and probabilities stay within 1e-5 of the original's; on CUDA the network runs in half
    precision, and its input must be half as well. The probabilities come out as float32 either way.

    The staircase is linear too, and its last level could be collapsed into the pool; that level takes 2 %
    of a forward pass, less than the runs differ, and would need a second form of the network.
    """
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    network = fold(copy.deepcopy(model).eval()).to(device, dtype).requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def fold(module: nn.Module) -> nn.Module:
    """Fold, in place, each batch normalization of `module` into the convolution registered before it.

    The network registers its layers in the order it runs them, so the convolution before is the one
    that feeds the normalization.
    """
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            if before is None or not isinstance(before[1], nn.Conv2d):
                raise TypeError(f"{name} does not follow a convolution")
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Identity())
        else:
            fold(child)
        before = name, child
    return module
