"""Which device runs the network."""

from __future__ import annotations

import torch

from worker.errors import ConfigurationError, ErrorCode


def choose_device(name: str) -> torch.device:
    """The device for `SUSY_DEVICE`: `auto` (CUDA if there is one), `cpu`, `cuda`, `cuda:N`.

    Raises `ConfigurationError` (`device_unavailable`) rather than quietly running on something slower.
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
