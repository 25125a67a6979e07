"""Where the package keeps its demonstration weights and samples."""

from __future__ import annotations

from pathlib import Path

DEMO_WEIGHTS = Path(__file__).parent / "weights.safetensors"
SAMPLES = Path(__file__).parent / "samples"
EXPECTED = SAMPLES / "expected.toml"
