"""The demonstration weights and the sample images that the package carries."""

from __future__ import annotations

from pathlib import Path

DEMO_WEIGHTS = Path(__file__).parent / "weights.safetensors"
SAMPLES = Path(__file__).parent / "samples"
EXPECTED = SAMPLES / "expected.toml"
"""What each sample must be decided as."""
