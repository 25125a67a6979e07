"""A weights file once more: with another temperature, in another precision, with more in its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from worker.detector.weights import WeightsInfo, load_weights, save_weights


def rewrite_weights(
    source: Path,
    target: Path,
    added: Mapping[str, Any],
    *,
    temperature: float | None = None,
    dtype: torch.dtype | None = None,
) -> WeightsInfo:
    """Write the weights of `source` as `target`, which may be `source` itself, with `added` in the provenance.

    Name, version and classes stay; temperature and type of the numbers stay unless given. Raises `SetupError` as
    `load_weights` and `save_weights` do.
    """
    model, info = load_weights(source)
    if temperature is not None:
        model.temperature = temperature
    return save_weights(
        target,
        model,
        name=info.name,
        version=info.version,
        classes=info.classes,
        provenance={**info.provenance, **added},
        dtype=dtype or _stored_dtype(source),
    )


def _stored_dtype(path: Path) -> torch.dtype:
    with safe_open(path, framework="pt") as file:
        dtype: torch.dtype = file.get_tensor(next(iter(file.keys()))).dtype
    return dtype
