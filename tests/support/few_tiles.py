"""Comparing an imported program with our network on four tiles instead of sixteen, for tests of something else.

A tile takes the network a twentieth of a second. The whole comparison is in test_parity.py, and once in
test_release.py.
"""

from __future__ import annotations

from functools import partial

import pytest

from worker.cli.main import run
from worker.detector import parity, release


def compare_few_tiles(patch: pytest.MonkeyPatch) -> None:
    """Each tile is in one batch or two, and the answers to any of them differ."""
    textures = parity.parity_tiles()[-4:]
    patch.setattr(parity, "parity_tiles", lambda: textures)
    patch.setattr(release, "compare", partial(parity.compare, batches=(1, 2, 3)))


def run_with_few_tiles() -> None:
    """The `susy` command."""
    compare_few_tiles(pytest.MonkeyPatch())
    run()
