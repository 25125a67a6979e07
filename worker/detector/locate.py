"""Which weights file a process uses. Knows no torch, so that commands can ask quickly."""

from __future__ import annotations

import os
from pathlib import Path

from worker.demo.paths import DEMO_WEIGHTS
from worker.settings import Settings

DEMO = "demo"
"""The value of `SUSY_WEIGHTS` that asks for the demonstration weights."""


def pulled_weights() -> Path:
    """Where `susy weights pull` and `susy weights import` put their result."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "susy-worker" / "susy.safetensors"


def weights_path(settings: Settings) -> Path:
    """The weights file the settings ask for; it need not exist."""
    if settings.weights == DEMO:
        return DEMO_WEIGHTS
    return pulled_weights() if settings.weights is None else Path(settings.weights)
