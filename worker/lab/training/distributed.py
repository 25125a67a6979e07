"""Several processes that train one network together, one a GPU (or a few on a CPU), as `torchrun` starts them.

Each step's batch is the recipe's, whatever the number of processes: every process takes its part, and gradients are
averaged by PyTorch's DistributedDataParallel. On GPUs batch normalization looks at the whole batch, too
(SyncBatchNorm); PyTorch has none for a CPU, so there each process normalizes by its own part.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from worker.detector.device import choose_device
from worker.detector.model import SuSy
from worker.errors import ConfigurationError, ErrorCode, SetupError
from worker.lab.training.recipe import refuse

PATIENCE = timedelta(hours=6)
"""How long processes wait for one another: the first may be cutting the patches of a large data set."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together."""

    device: torch.device
    rank: int = 0
    """0 is the process that writes files and speaks."""
    size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def all_gather(self, mine: NDArray[np.float32]) -> NDArray[np.float32]:
        """The arrays of all processes, one after the other, by rank."""
        if self.size == 1:
            return mine
        parts: list[NDArray[np.float32] | None] = [None] * self.size
        distributed.all_gather_object(parts, mine)
        return np.concatenate([part for part in parts if part is not None])

    def broadcast(self, own: str) -> str:
        """What the first process says."""
        told = [own]
        if self.size > 1:
            distributed.broadcast_object_list(told, src=0)
        return told[0]

    def share(self, count: int) -> NDArray[np.int64]:
        """Which of `count` things are this process's, so that `joined` puts them back in order."""
        return np.array_split(np.arange(count), self.size)[self.rank]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def join(device: str) -> Iterator[ProcessGroup]:
    """This process's group: alone, unless `torchrun` started it. Raises `SetupError` for a device that is not there."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup(_device(device))
        return
    chosen = _device(device)
    if chosen.type == "cuda":
        if ":" in device:
            refuse("device", f"must be cuda or auto when several processes train, not {device!r}: each takes its own")
        chosen = _device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield ProcessGroup(chosen, distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


class Logits(nn.Module):
    """The network as it is trained: what it says before softmax."""

    def __init__(self, model: SuSy) -> None:
        super().__init__()
        self.model = model

    def forward(self, tiles: Tensor) -> Tensor:
        return self.model.logits(tiles)


def synchronized(model: SuSy, group: ProcessGroup) -> SuSy:
    """The model with what must be in step between GPUs; before the optimizer sees its parameters."""
    if group.size > 1 and group.device.type == "cuda":
        converted: SuSy = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return converted
    return model


def trainable(model: SuSy, group: ProcessGroup) -> nn.Module:
    """What maps tiles to logits, its gradients averaged over the group."""
    logits = Logits(model)
    if group.size == 1:
        return logits
    devices = [group.device] if group.device.type == "cuda" else None
    return DistributedDataParallel(logits, device_ids=devices)


def share_statistics(model: SuSy, group: ProcessGroup) -> None:
    """Give all processes the running means and variances of the first, which differ by the last step."""
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
