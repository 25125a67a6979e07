"""Mixed precision: convolutions and products in half the bits, weights and the loss in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.amp.grad_scaler import GradScaler

from worker.lab.training.recipe import Recipe, refuse

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def mixed(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """The context that the network runs in."""
    if recipe.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, _TYPES[recipe.precision])


def gradient_scaler(recipe: Recipe, device: torch.device) -> GradScaler:
    """What keeps float16's small gradients from vanishing; does nothing for the other types, which need no such thing.

    Raises `SetupError` for float16 without a GPU.
    """
    if recipe.precision == "float16" and device.type != "cuda":
        refuse("precision", 'float16 needs a GPU; use "bfloat16" or "float32"')
    return GradScaler("cuda", enabled=recipe.precision == "float16")
