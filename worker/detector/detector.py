"""The detector of a process: weights loaded, prepared for the device, behind one inference engine."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from schema.scan import ModelIdentity
from worker.detector.device import choose_device
from worker.detector.engine import InferenceEngine
from worker.detector.fold import prepare
from worker.detector.locate import weights_path
from worker.detector.weights import load_weights
from worker.settings import Settings


class Detector:
    """Scores tiles; thread-safe. Close it, or use it in a `with` block.

    Raises `SetupError` when the weights or the device are not as asked for.
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
            batch=settings.batch,
            threads=settings.threads,
        )

    def score(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Class probabilities float32 [T, C] of T tiles uint8 [224, 224, 3]; see `InferenceEngine.score`."""
        return self.engine.score(tiles)

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
