"""The detector of a process: weights loaded, prepared for the device, behind one inference engine."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from schema.scan import ModelIdentity
from worker.detector.engine import InferenceEngine
from worker.detector.paths import weights_path
from worker.detector.prepare import choose_precision, prepare
from worker.detector.weights import load_weights
from worker.errors import ConfigurationError, ErrorCode
from worker.machine.cores import usable_cores
from worker.machine.memory import trim_heap
from worker.settings import Settings


class Detector:
    """Scores tiles; thread-safe. Close it, or use it in a `with` block.

    Raises `ConfigurationError` (`weights_invalid`, `device_unavailable`) when the weights cannot be loaded or the
    machine lacks the device.
    """

    def __init__(self, settings: Settings) -> None:
        device = choose_device(settings.device)
        model, info = load_weights(weights_path(settings))
        precision = choose_precision(settings.precision, device, info.precision_differences)
        self.identity = ModelIdentity(info.name, info.sha256, info.classes, info.is_demo, precision)
        self.device = device
        trim_heap()  # of what reading the file has freed
        network = prepare(model, device, precision, consumes=True)
        del model
        trim_heap()
        self.engine = InferenceEngine(
            network,
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
