"""The inference engine: a few threads that run the network, on batches across all images in flight.

Many threads decode images and call `score`; the engine's lanes own the network and the device. A lane takes whatever
tiles are waiting, up to the largest batch, one of each image in turn. A single image is scored at once, many images
fill the batches, and a large image does not delay a small one. A caller waits until its image is scored, so the number
of callers bounds the number of tiles in flight.

A batch that fails is scored again in parts, so that only the images that cause the failure fail. A batch that does not
fit in memory is halved until it fits, and later batches are no larger.
"""

from __future__ import annotations

import gc
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schema.scan import TILE
from worker.detector.fair_queue import FairQueue
from worker.detector.tiles import stack
from worker.errors import ErrorCode, PermanentError, SusyError, TransientError
from worker.log import get_logger

log = get_logger(__name__)

Tile = NDArray[np.uint8]
"""uint8 [224, 224, 3], RGB."""

CPU_BATCH = 16
"""The activations of 16 tiles fit the cache; larger batches were slower (`bench/forward.py`)."""
CUDA_BATCH = 128
CUDA_GATHER = 0.003
"""How many seconds a GPU waits to fill a batch. A CPU does not wait: its forward pass takes far longer."""
LARGER_AGAIN_AFTER = 600.0
"""Seconds after which twice the batch that fits in memory is tried: what filled the memory may be gone."""


@dataclass(eq=False)
class _Job:
    """The tiles of one caller and the probabilities received so far."""

    tiles: Sequence[Tile]
    probabilities: NDArray[np.float32]
    cancelled: threading.Event | None
    missing: int
    done: threading.Event = field(default_factory=threading.Event)
    error: SusyError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, indices: list[int], probabilities: NDArray[np.float32]) -> None:
        self.probabilities[indices] = probabilities
        with self._lock:  # lanes answer parts of one image at the same time
            self.missing -= len(indices)
            missing = self.missing
        if missing == 0:
            self.done.set()

    def fail(self, error: SusyError) -> None:
        self.error = error
        self.done.set()

    def is_over(self) -> bool:
        """Whether no further tile needs to be scored: one failed, or the caller no longer wants the answer."""
        if self.error is None and self.cancelled is not None and self.cancelled.is_set():
            self.fail(TransientError(ErrorCode.LEASE_LOST, "the image is no longer wanted; its tiles were not scored"))
        return self.error is not None


_Entry = tuple[_Job, int]
"""One tile that waits: its caller and its index among the caller's tiles."""


class InferenceEngine:
    """Scores tiles with a prepared network (see `worker.detector.prepare`).

    `lanes` threads run the network at the same time over the same weights, each on batches of its own and on one CPU
    core. A batch that does not fit in memory is halved until it does; `larger_again_after` seconds later a larger one
    is tried. `score` may be called from any number of threads. Close the engine, or use it in a `with` block.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        num_classes: int,
        *,
        batch: int | None = None,
        lanes: int = 1,
        larger_again_after: float = LARGER_AGAIN_AFTER,
    ) -> None:
        on_cuda = device.type == "cuda"
        self.batch = batch or (CUDA_BATCH if on_cuda else CPU_BATCH)
        self._network = network
        self._device = device
        self._num_classes = num_classes
        self._gather = CUDA_GATHER if on_cuda else 0.0
        self._limit = _BatchLimit(self.batch, device, larger_again_after)
        self._waiting: FairQueue[_Entry] = FairQueue(drop=lambda entry: entry[0].is_over())
        # Page-locked memory lets the copy to the GPU run beside other work.
        buffers = [
            torch.empty((self.batch, TILE, TILE, 3), dtype=torch.uint8, pin_memory=on_cuda) for _ in range(lanes)
        ]
        self._lanes = [
            threading.Thread(target=self._serve, args=(buffer,), name=f"inference-{number}", daemon=True)
            for number, buffer in enumerate(buffers, 1)
        ]
        for lane in self._lanes:
            lane.start()

    def score(self, tiles: Sequence[Tile], cancelled: threading.Event | None = None) -> NDArray[np.float32]:
        """Class probabilities float32 [T, C] of T tiles; blocks until all are scored.

        Once `cancelled` is set, tiles that have not reached the network are dropped. Raises `TransientError`:
        `inference_failed` when the network or the device failed on these tiles alone, `out_of_memory` when one tile
        does not fit in the memory of the device or the host, `lease_lost` when `cancelled` was set; and
        `PermanentError` (`inference_failed`) when the network's answer is not finite.
        """
        job = _Job(tiles, np.empty((len(tiles), self._num_classes), np.float32), cancelled, missing=len(tiles))
        if not tiles:
            return job.probabilities
        if not self._waiting.put((job, index) for index in range(len(tiles))):
            raise TransientError(ErrorCode.INFERENCE_FAILED, "the inference engine is shutting down")
        job.done.wait()
        if job.error:
            raise job.error
        return job.probabilities

    def close(self) -> None:
        """Score what is queued, then stop the threads."""
        self._waiting.close()
        for lane in self._lanes:
            lane.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _serve(self, buffer: Tensor) -> None:
        # A forward pass on several cores waits at every layer for the slowest one. The number is this thread's own, and
        # the default of threads that are started later.
        torch.set_num_threads(1)
        with torch.inference_mode():
            while entries := self._waiting.take(self._limit.current(), self._gather):
                self._answer(entries, buffer)
                del entries  # while the lane waits, they would keep the last images in memory

    def _answer(self, entries: list[_Entry], buffer: Tensor, *, memory_was_released: bool = False) -> None:
        """Score these tiles together or, when that fails, in parts."""
        entries = [entry for entry in entries if entry[0].error is None]
        if not entries:
            return
        failure = None
        try:
            probabilities = self._forward(entries, buffer)
        except Exception as error:  # noqa: BLE001 (no error may end the thread)
            traceback.clear_frames(error.__traceback__)  # their variables keep the batch's tensors in memory
            failure = error
        if failure is None:
            self._limit.log_reduction()
            _deliver(entries, probabilities)
        elif _is_out_of_memory(failure):
            self._answer_smaller(entries, buffer, failure, memory_was_released)
        else:
            self._answer_apart(entries, buffer, failure)

    def _answer_smaller(
        self, entries: list[_Entry], buffer: Tensor, error: Exception, memory_was_released: bool
    ) -> None:
        """The batch did not fit in memory: score it in smaller ones, and a single tile once more."""
        _release_memory(self._device)
        if len(entries) > 1:
            self._limit.reduce(-(-len(entries) // 2))
            while entries:
                size = self._limit.current()  # smaller still, once a half did not fit either
                self._answer(entries[:size], buffer)
                entries = entries[size:]
        elif not memory_was_released:
            self._answer(entries, buffer, memory_was_released=True)
        else:
            # Every tile is of one size, so the image is not the cause, and another attempt may find more memory.
            why = f"one tile does not fit in the memory for {self._device}: {type(error).__name__}: {error}"
            _fail(entries, ErrorCode.OUT_OF_MEMORY, why, error)

    def _answer_apart(self, entries: list[_Entry], buffer: Tensor, error: Exception) -> None:
        """The batch failed: score each caller's tiles alone, so that only the caller whose tiles cause it fails."""
        jobs = dict.fromkeys(job for job, _ in entries)
        if len(jobs) > 1:
            for job in jobs:
                self._answer([entry for entry in entries if entry[0] is job], buffer)
            return
        why = f"the network failed on this image's tiles: {type(error).__name__}: {error}"
        _fail(entries, ErrorCode.INFERENCE_FAILED, why, error)

    def _forward(self, entries: list[_Entry], buffer: Tensor) -> NDArray[np.float32]:
        tiles = buffer[: len(entries)]
        stack([job.tiles[index] for job, index in entries], out=tiles.numpy())
        # [N, H, W, C] seen as [N, C, H, W] is the channels_last layout: no transposition is needed.
        inputs = tiles.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        probabilities = self._network(inputs.float().div_(255))
        answer = np.asarray(probabilities.float().cpu().numpy())
        if answer.shape != (len(entries), self._num_classes):
            raise ValueError(
                f"the network answered {answer.shape} to {len(entries)} tiles of {self._num_classes} classes"
            )
        return answer


class _BatchLimit:
    """The most tiles in one forward pass: the configured batch, or the largest one that fits in memory."""

    def __init__(self, configured: int, device: torch.device, larger_again_after: float) -> None:
        self._configured = configured
        self._device = device
        self._larger_again_after = larger_again_after
        self._limit = configured
        self._logged = configured
        self._reduced_at = 0.0
        self._lock = threading.Lock()

    def current(self) -> int:
        with self._lock:
            waited = time.monotonic() - self._reduced_at
            if self._limit < self._configured and waited > self._larger_again_after:
                self._limit = min(2 * self._limit, self._configured)
                self._reduced_at = time.monotonic()
            return self._limit

    def reduce(self, to: int) -> None:
        """Note that more than `to` tiles did not fit."""
        with self._lock:
            self._limit = min(self._limit, to)
            self._reduced_at = time.monotonic()

    def log_reduction(self) -> None:
        """Log a limit lower than any before, now that a batch has fitted."""
        with self._lock:
            if self._limit >= self._logged:
                return
            self._logged = self._limit
        log.warning("batch_reduced", tiles=self._logged, configured=self._configured, device=str(self._device))


def _deliver(entries: list[_Entry], probabilities: NDArray[np.float32]) -> None:
    rows_of: dict[_Job, list[int]] = {}
    for row, (job, _) in enumerate(entries):
        rows_of.setdefault(job, []).append(row)
    for job, rows in rows_of.items():
        own = probabilities[rows]
        if np.isfinite(own).all():
            job.answer([entries[row][1] for row in rows], own)
        else:
            job.fail(PermanentError(ErrorCode.INFERENCE_FAILED, "the network answered with NaN or infinity"))


def _fail(entries: list[_Entry], code: ErrorCode, why: str, cause: Exception) -> None:
    for job in dict.fromkeys(job for job, _ in entries):
        failure = TransientError(code, why)
        failure.__cause__ = cause
        job.fail(failure)


def _release_memory(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "bad_alloc")
"""What torch, the CUDA libraries and C++ write when memory is short, in errors that have no type of their own."""


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in _OUT_OF_MEMORY
    )
