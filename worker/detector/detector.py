"""The detector of a process: weights loaded, prepared for the device, behind one inference engine."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from schema.scan import ModelIdentity
from worker.cores import usable_cores
from worker.detector.engine import InferenceEngine
from worker.detector.model import SuSy
from worker.detector.paths import weights_path
from worker.detector.weights import load_weights
from worker.errors import ConfigurationError, ErrorCode
from worker.settings import Settings


class Detector:
    """Scores tiles; thread-safe. Close it, or use it in a `with` block.

    Raises `ConfigurationError` (`weights_invalid`, `device_unavailable`) when the weights cannot be loaded or the
    machine lacks the device.
    """

    def __init__(self, settings: Settings) -> None:
        device = choose_device(settings.device)
        model, info = load_weights(weights_path(settings))
        self.identity = ModelIdentity(info.name, info.sha256, info.classes, info.is_demo)
        self.device = device
        self.engine = InferenceEngine(
            prepare(model, device),
            device,
            len(info.classes),
            batch=settings.batch_size,
            lanes=(settings.threads or usable_cores()) if device.type == "cpu" else 1,
        )

    def score(self, tiles: list[NDArray[np.uint8]], cancelled: threading.Event | None = None) -> NDArray[np.float32]:
        """Class probabilities float32 [T, C] of T tiles uint8 [224, 224, 3]; see `InferenceEngine.score`."""
        return self.engine.score(tiles, cancelled)

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class CancellableScorer:
    """A detector on behalf of one attempt: once `cancelled` is set, it drops the attempt's tiles and raises."""

    detector: Detector
    cancelled: threading.Event

    @property
    def identity(self) -> ModelIdentity:
        return self.detector.identity

    def score(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """As `Detector.score`, with this attempt's `cancelled`."""
        return self.detector.score(tiles, self.cancelled)


def choose_device(name: str) -> torch.device:
    """The device for `SUSY_DEVICE`: `auto` (CUDA if the machine has it), `cpu`, `cuda`, `cuda:N`.

    Raises `ConfigurationError` (`device_unavailable`) instead of falling back to a slower device.
    """
    available = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not available):
        return torch.device("cpu")
    device = torch.device("cuda:0" if name in ("auto", "cuda") else name)
    if (device.index or 0) >= available:
        raise ConfigurationError(
            ErrorCode.DEVICE_UNAVAILABLE,
            f"SUSY_DEVICE={name}: this machine has {available} CUDA device(s); set SUSY_DEVICE=cpu, or install a "
            "CUDA build of torch",
        )
    return device


def prepare(model: SuSy, device: torch.device) -> nn.Module:
    """A copy of `model` for inference on `device`; the original is left as it is.

    Every batch normalization is folded into the convolution before it: in evaluation mode both are linear. Weights
    are laid out channels last, the layout that tiles cut from an image already have, and the fastest for convolutions
    on both kinds of device (`bench/forward.py`). On a CPU everything stays float32, and probabilities stay within
    1e-5 of the original's. On CUDA the network runs in half precision, and its input must be half precision as well.
    The probabilities are float32 on both.

    The staircase is linear too, and its last level could be merged into the pooling. That level takes 2 % of a
    forward pass, less than the variation between runs, and merging it would need a second form of the network.
    """
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    network = fold(copy.deepcopy(model).eval()).to(device, dtype).requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def fold(module: nn.Module) -> nn.Module:
    """Fold, in place, each batch normalization of `module` into the convolution registered before it.

    The network registers its layers in the order in which it runs them, so the convolution before is the one whose
    output the normalization receives. Raises `TypeError` for a normalization without a convolution before it.
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
