"""Weights that are loaded and prepared once for all detectors of a process, and of the processes that it forks.

Loading them takes a third of a second, and most tests that examine an image are about something else. Processes that
are not forked load them themselves, and so do those of tests/detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from schema.scan import Precision
from worker.detector import detector
from worker.detector.prepare import PreparedSuSy
from worker.detector.weights import WeightsInfo

CPU = torch.device("cpu")

_load_weights, _prepare = detector.load_weights, detector.prepare
_kept: dict[Path, _Kept | None] = {}


@dataclass(frozen=True)
class _Kept:
    """Stands for a network between its being loaded and its being prepared."""

    path: Path
    modified: int
    info: WeightsInfo
    prepared: PreparedSuSy


def keep(path: Path) -> None:
    """Keep the network of a weights file from its first use on, for inference on a processor in float32."""
    detector.load_weights, detector.prepare = _load_kept, _prepare_kept  # type: ignore[assignment]
    _kept.setdefault(path, None)


def load(path: Path) -> None:
    """Keep it, and load it now, for processes that are forked from this one."""
    keep(path)
    detector.load_weights(path)


def _load_kept(path: Path) -> tuple[Any, WeightsInfo]:
    if path not in _kept:
        return _load_weights(path)
    kept, modified = _kept[path], path.stat().st_mtime_ns
    if kept is None or kept.modified != modified:
        model, info = _load_weights(path)
        kept = _kept[path] = _Kept(path, modified, info, _prepare(model, CPU, consumes=True))
    return kept, kept.info


def _prepare_kept(
    model: Any, device: torch.device, precision: Precision = Precision.FLOAT32, **options: Any
) -> PreparedSuSy:
    if not isinstance(model, _Kept):
        return _prepare(model, device, precision, **options)
    if (device, precision) == (CPU, Precision.FLOAT32):
        return model.prepared
    return _prepare(_load_weights(model.path)[0], device, precision, **options)
