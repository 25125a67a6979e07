"""Several processes that train one network together, one per GPU (or a few on a CPU), as `torchrun` starts them.

Each step's batch is the recipe's, whatever the number of processes: every process takes its part, and PyTorch's
DistributedDataParallel averages the gradients. On GPUs batch normalization covers the whole batch (SyncBatchNorm);
PyTorch has no SyncBatchNorm for a CPU, so there each process normalizes by its own part.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from worker.detector.detector import choose_device
from worker.detector.model import SuSy
from worker.errors import ConfigurationError, ErrorCode, SetupError
from worker.lab.training.recipe import refuse

TIMEOUT = timedelta(hours=6)
"""How long processes wait for one another: the first may be cutting the patches of a large data set."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together."""

    device: torch.device
    rank: int = 0
    size: int = 1
    networks: list[AveragedLogits] = field(default_factory=list, repr=False, compare=False)
    """What `data_parallel` made for this group."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and the messages."""
        return self.rank == 0

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def all_gather(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        """The parts of all processes, concatenated by rank."""
        if self.size == 1:
            return part
        parts: list[NDArray[np.float32] | None] = [None] * self.size
        distributed.all_gather_object(parts, part)
        return np.concatenate([part for part in parts if part is not None])

    def broadcast(self, text: str) -> str:
        """The first process's text."""
        texts = [text]
        if self.size > 1:
            distributed.broadcast_object_list(texts, src=0)
        return texts[0]

    def shard(self, count: int) -> NDArray[np.int64]:
        """The indices, of `count`, that are this process's part; `all_gather` restores their order."""
        return np.array_split(np.arange(count), self.size)[self.rank]

    def barrier(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """This process's group: of one, unless `torchrun` started it. Raises `SetupError` for a device that is absent."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup(_device(device))
        return
    chosen = _device(device)
    if chosen.type == "cuda":
        if ":" in device:
            refuse("device", f"must be cuda or auto when several processes train, not {device!r}: each has its own")
        chosen = _device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=TIMEOUT)
    group = ProcessGroup(chosen, distributed.get_rank(), size)
    try:
        yield group
    finally:
        # Before the group: a network that is the last to refer to it ends it while it holds the interpreter lock, for
        # which gloo's threads may be waiting: https://github.com/pytorch/pytorch/issues/56297
        for network in group.networks:
            network.release()
        gc.collect()  # these networks refer to themselves
        distributed.destroy_process_group()


class Logits(nn.Module):
    """The network as it is trained: its output before softmax."""

    def __init__(self, model: SuSy) -> None:
        super().__init__()
        self.model = model

    def forward(self, tiles: Tensor) -> Tensor:
        return self.model.logits(tiles)


class AveragedLogits(nn.Module):
    """Logits whose gradients are averaged over the group, until the group ends."""

    def __init__(self, parallel: DistributedDataParallel) -> None:
        super().__init__()
        self.parallel: DistributedDataParallel | None = parallel

    def forward(self, tiles: Tensor) -> Tensor:
        assert self.parallel is not None, "the process group has ended"
        logits: Tensor = self.parallel(tiles)
        return logits

    def release(self) -> None:
        """Give up what refers to the group."""
        self.parallel = None


def synchronize_batch_norm(model: SuSy, group: ProcessGroup) -> SuSy:
    """The model with SyncBatchNorm where several GPUs train it; to be called before the optimizer is made."""
    if group.size > 1 and group.device.type == "cuda":
        converted: SuSy = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return converted
    return model


def data_parallel(model: SuSy, group: ProcessGroup) -> nn.Module:
    """The module from tiles to logits, with gradients averaged over the group."""
    logits = Logits(model)
    if group.size == 1:
        return logits
    devices = [group.device] if group.device.type == "cuda" else None
    network = AveragedLogits(DistributedDataParallel(logits, device_ids=devices))
    group.networks.append(network)
    return network


def broadcast_statistics(model: SuSy, group: ProcessGroup) -> None:
    """Give all processes the running means and variances of the first, which differ since the last step."""
    if group.size > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


def _device(name: str) -> torch.device:
    try:
        return choose_device(name)
    except SetupError as error:
        count = torch.cuda.device_count()
        raise ConfigurationError(
            ErrorCode.DEVICE_UNAVAILABLE,
            f"`device` {name}: this machine has {count} CUDA device(s); set `device` to cpu, start fewer processes, "
            "or install a CUDA build of torch",
        ) from error
