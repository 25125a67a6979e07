"""The inference engine: one thread, batches across all images in flight.

Many threads decode images and call `score`; a single thread owns the network and the device. It takes whatever tiles
are waiting, up to the largest batch, one of each image in turn. A single image is scored at once, many images fill the
batches, and a large image does not delay a small one. A caller waits until its image is scored, so the number of
callers bounds the number of tiles in flight.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from schema.scan import TILE
from worker.detector.fair_queue import FairQueue
from worker.errors import ErrorCode, PermanentError, SusyError, TransientError

Tile = NDArray[np.uint8]
"""uint8 [224, 224, 3], RGB."""

CPU_BATCH = 16
"""The activations of 16 tiles fit the cache; larger batches were slower (`bench/forward.py`)."""
CUDA_BATCH = 128
CUDA_GATHER = 0.003
"""How many seconds a GPU waits to fill a batch. A CPU does not wait: its forward pass takes far longer."""


@dataclass(eq=False)
class _Job:
    """The tiles of one caller and the probabilities received so far."""

    tiles: Sequence[Tile]
    probabilities: NDArray[np.float32]
    missing: int
    done: threading.Event = field(default_factory=threading.Event)
    error: SusyError | None = None

    def answer(self, indices: list[int], probabilities: NDArray[np.float32]) -> None:
        self.probabilities[indices] = probabilities
        self.missing -= len(indices)
        if self.missing == 0:
            self.done.set()

    def fail(self, error: SusyError) -> None:
        self.error = error
        self.done.set()


_Batch = dict[_Job, list[int]]
"""The tiles that are scored together: each caller with the indices of its tiles."""


class InferenceEngine:
    """Scores tiles with a prepared network (see `worker.detector.detector.prepare`).

    `score` may be called from any number of threads. Close the engine, or use it in a `with` block.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        num_classes: int,
        *,
        batch: int | None = None,
        threads: int | None = None,
    ) -> None:
        on_cuda = device.type == "cuda"
        self.batch = batch or (CUDA_BATCH if on_cuda else CPU_BATCH)
        self._network = network
        self._device = device
        self._num_classes = num_classes
        self._threads = threads
        self._gather = CUDA_GATHER if on_cuda else 0.0
        # Page-locked memory lets the copy to the GPU run beside other work.
        self._staging = torch.empty((self.batch, TILE, TILE, 3), dtype=torch.uint8, pin_memory=on_cuda)
        self._waiting: FairQueue[tuple[_Job, int]] = FairQueue()
        self._thread = threading.Thread(target=self._serve, name="inference", daemon=True)
        self._thread.start()

    def score(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        """Class probabilities float32 [T, C] of T tiles; blocks until all are scored.

        Raises `TransientError` (`inference_failed`, `out_of_memory`) when the network or the device failed
        on these tiles alone, and `PermanentError` (`inference_failed`) when its answer is not finite.
        """
        job = _Job(tiles, np.empty((len(tiles), self._num_classes), np.float32), missing=len(tiles))
        if not tiles:
            return job.probabilities
        if not self._waiting.put((job, index) for index in range(len(tiles))):
            raise TransientError(ErrorCode.INFERENCE_FAILED, "the inference engine is shutting down")
        job.done.wait()
        if job.error:
            raise job.error
        return job.probabilities

    def close(self) -> None:
        """Score what is queued, then stop the thread."""
        self._waiting.close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _serve(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            while entries := self._waiting.take(self.batch, self._gather):
                batch: _Batch = {}
                for job, index in entries:
                    if not job.error:
                        batch.setdefault(job, []).append(index)
                if batch:
                    self._answer(batch)

    def _answer(self, batch: _Batch) -> None:
        try:
            probabilities = self._forward(batch)
        except Exception as error:  # noqa: BLE001 (no error may end the thread)
            self._answer_apart(batch, error)
            return
        start = 0
        for job, indices in batch.items():
            own = probabilities[start : start + len(indices)]
            start += len(indices)
            if np.isfinite(own).all():
                job.answer(indices, own)
            else:
                job.fail(PermanentError(ErrorCode.INFERENCE_FAILED, "the network answered with NaN or infinity"))

    def _answer_apart(self, batch: _Batch, error: Exception) -> None:
        """The batch failed: score each caller's tiles alone, so that only the caller whose tiles cause it fails."""
        if len(batch) > 1:
            for job, indices in batch.items():
                self._answer({job: indices})
            return
        (job,) = batch
        code = ErrorCode.OUT_OF_MEMORY if _is_out_of_memory(error) else ErrorCode.INFERENCE_FAILED
        failure = TransientError(code, f"the network failed on this image's tiles: {type(error).__name__}: {error}")
        failure.__cause__ = error
        job.fail(failure)

    def _forward(self, batch: _Batch) -> NDArray[np.float32]:
        tiles = [job.tiles[index] for job, indices in batch.items() for index in indices]
        staging = self._staging[: len(tiles)]
        np.stack(tiles, out=staging.numpy())
        # [N, H, W, C] seen as [N, C, H, W] is the channels_last layout: no transposition is needed.
        inputs = staging.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        probabilities = self._network(inputs.to(dtype).div_(255))
        answer = np.asarray(probabilities.float().cpu().numpy())
        if answer.shape != (len(tiles), self._num_classes):
            raise ValueError(
                f"the network answered {answer.shape} to {len(tiles)} tiles of {self._num_classes} classes"
            )
        return answer


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
