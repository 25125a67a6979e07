"""Which weights file a process uses. Imports no torch, so that commands can ask quickly."""

from __future__ import annotations

import os
from pathlib import Path

from worker.demo import DEMO_WEIGHTS
from worker.settings import Settings

DEMO = "demo"
"""The value of `SUSY_WEIGHTS` that selects the demonstration weights."""


def pulled_weights() -> Path:
    """Where `susy weights pull` and `susy weights import` write their result."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "susy-worker" / "susy.safetensors"


def weights_path(settings: Settings) -> Path:
    """The weights file that the settings select; it may not exist."""
    if settings.weights == DEMO:
        return DEMO_WEIGHTS
    return pulled_weights() if settings.weights is None else Path(settings.weights)
