"""The network under evaluation: a weights file of susy-worker, or any TorchScript program."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schema.scan import TILE, ModelIdentity
from worker.detector.detector import choose_device
from worker.detector.engine import CPU_BATCH, CUDA_BATCH, Tile
from worker.detector.prepare import choose_precision, prepare
from worker.detector.release import RELEASE, own_tensors
from worker.detector.torchscript import Limits, TorchScriptProgram
from worker.detector.weights import build, invalid, load_weights
from worker.errors import ConfigurationError, ErrorCode, SetupError
from worker.files import read_regular_file

SMALLEST_PROBABILITY = 1e-12
"""Probabilities of a TorchScript program are raised to this before their logarithm is taken."""
PROGRAM_LIMITS = Limits(file_bytes=4_000_000_000, memory_bytes=16_000_000_000, seconds=600)
"""What a TorchScript program may use: more than the released one needs, for other detectors are larger."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """A network under evaluation, on its device. Threads that call it wait for one another."""

    identity: ModelIdentity
    """The name is that in the weights file, or the file's own; the digest is that in the weights file, or that of the
    TorchScript file's bytes."""
    temperature: float
    """What logits are divided by before softmax; 1 for a TorchScript program."""
    stores_temperature: bool
    """Whether the file can store a temperature: a weights file can, a TorchScript program cannot."""
    device: torch.device
    network: Callable[[Tensor], Tensor]
    """uint8 [N, 3, 224, 224] on `device` → logits float32 [N, C]."""
    batch: int
    """Tiles that `network` is given at once."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by index; index 0 is the authentic class."""
        return self.identity.classes

    def logits(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        """Logits float32 [T, C] of T tiles uint8 [224, 224, 3], before the temperature.

        Of a TorchScript program, the logarithms of its probabilities: the logits up to a constant per tile.
        Raises `ConfigurationError` (`weights_invalid`) when one is not finite.
        """
        logits = np.empty((len(tiles), len(self.classes)), np.float32)
        with self._lock, torch.inference_mode():
            for start in range(0, len(tiles), self.batch):
                stacked = torch.from_numpy(np.stack(tiles[start : start + self.batch]))
                # [N, H, W, C] seen as [N, C, H, W] is the channels_last layout: no transposition is needed.
                inputs = stacked.to(self.device).permute(0, 3, 1, 2)
                logits[start : start + self.batch] = self.network(inputs).cpu().numpy()
        if not np.isfinite(logits).all():
            raise invalid(self.identity.name, "answered with NaN or infinity")
        return logits

    def score(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        """Class probabilities float32 [T, C] of T tiles uint8 [224, 224, 3], as a worker's detector computes them."""
        return softmax(self.logits(tiles), self.temperature)


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities float32 [..., C] of logits float32 [..., C] divided by `temperature`."""
    from scipy import special

    return np.asarray(special.softmax(logits.astype(np.float64) / temperature, axis=-1), np.float32)


def open_scorer(
    path: Path,
    device: str = "auto",
    classes: Sequence[str] | None = None,
    batch: int | None = None,
    precision: str = "float32",
) -> Scorer:
    """The network in `path`: a weights file of susy-worker (`.safetensors`), or else a TorchScript program that maps
    float32 [N, 3, 224, 224] in 0..1 to probabilities [N, C].

    A TorchScript file is a program, and it is run, in a process of its own with limits (`worker.detector.torchscript`).
    It carries no class names: they are the released six when it is SuSy as released, and otherwise `classes`, the
    authentic one first. `batch` is by default that of a worker on this device, for each of PyTorch's threads.
    `precision` is a value of `SUSY_PRECISION`; a TorchScript program runs as it is.

    Raises `ConfigurationError` (`weights_invalid`, `device_unavailable`, or `settings` when class names are missing or
    do not fit).
    """
    chosen = choose_device(device)
    batch = batch or (CUDA_BATCH if chosen.type == "cuda" else CPU_BATCH)
    if path.suffix == ".safetensors":
        return _open_weights(path, chosen, classes, batch, precision)
    return _open_program(path, chosen, classes, batch)


def _open_weights(
    path: Path, device: torch.device, classes: Sequence[str] | None, batch: int, precision_name: str
) -> Scorer:
    model, info = load_weights(path)
    if classes is not None and tuple(classes) != info.classes:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"weights file {path} names its classes {', '.join(info.classes)}; leave out --classes"
        )
    precision = choose_precision(precision_name, device, info.precision_differences)
    prepared = prepare(model, device, precision)

    def network(tiles: Tensor) -> Tensor:
        return prepared.logits(tiles.float().div_(255))

    threads = torch.get_num_threads() if device.type == "cpu" else 1
    identity = ModelIdentity(info.name, info.sha256, info.classes, info.is_demo, precision)
    return Scorer(identity, model.temperature, True, device, _divided(network, threads), batch * threads)


def _divided(network: Callable[[Tensor], Tensor], threads: int) -> Callable[[Tensor], Tensor]:
    """`network`, with what it is given divided among so many threads: as a worker's engine, each runs whole passes."""
    if threads == 1:
        return network
    pool = ThreadPoolExecutor(threads, "network", initializer=torch.set_num_threads, initargs=(1,))
    in_inference = torch.inference_mode()(network)  # which is each thread's own
    return lambda tiles: torch.cat(list(pool.map(in_inference, tiles.chunk(threads))))


def _open_program(path: Path, device: torch.device, classes: Sequence[str] | None, batch: int) -> Scorer:
    try:
        content = read_regular_file(path, PROGRAM_LIMITS.file_bytes)
    except OSError as error:
        raise invalid(path, f"cannot be read: {error.strerror}") from error
    program = TorchScriptProgram(content, path, PROGRAM_LIMITS, device)
    if classes is None and _is_susy(program, path):
        classes = RELEASE.classes

    def network(tiles: Tensor) -> Tensor:
        return program.answer(tiles.cpu()).clamp_min(SMALLEST_PROBABILITY).log()

    outputs = _number_of_outputs(program, path)
    if classes is None:
        raise ConfigurationError(
            ErrorCode.SETTINGS,
            f"weights file {path} is a TorchScript program without class names; name its {outputs} classes in their "
            "order, the authentic one first: --classes authentic,…",
        )
    if len(classes) != outputs:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"--classes names {len(classes)} classes, but weights file {path} has {outputs}"
        )
    digest = hashlib.sha256(content).hexdigest()
    return Scorer(ModelIdentity(path.stem, digest, tuple(classes)), 1.0, False, device, network, batch)


def _number_of_outputs(program: TorchScriptProgram, path: Path) -> int:
    """The number of classes, after checking on two flat tiles that the program answers with probabilities."""
    answer = program.answer(torch.tensor([0, 128], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, TILE, TILE))
    if answer.ndim != 2 or len(answer) != 2 or answer.shape[1] < 2:
        raise invalid(path, "does not answer with one row of class probabilities per tile")
    if not bool((answer >= 0).all()) or not bool(((answer.sum(dim=1) - 1).abs() < 1e-3).all()):
        raise invalid(path, "does not answer with probabilities (rows that sum to 1); put softmax inside the program")
    return int(answer.shape[1])


def _is_susy(program: TorchScriptProgram, path: Path) -> bool:
    try:
        build(own_tensors(program.state(), of=path), len(RELEASE.classes), of=path)
    except SetupError:
        return False
    return True
