from pathlib import Path

import pytest
import torch

from tests.support.released import random_susy, save_released
from worker.detector.model import SuSy
from worker.detector.parity import parity_tiles


@pytest.fixture(scope="session")
def susy() -> SuSy:
    return random_susy()


@pytest.fixture(scope="session")
def released(susy: SuSy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for `SuSy.pt`, carrying the weights of `susy`."""
    path = tmp_path_factory.mktemp("released") / "SuSy.pt"
    save_released(path, susy)
    return path


@pytest.fixture(scope="session")
def tiles() -> torch.Tensor:
    """float32 [16, 3, 224, 224] in 0..1."""
    return parity_tiles().float().div_(255)


@pytest.fixture(scope="session")
def answers(susy: SuSy, tiles: torch.Tensor) -> torch.Tensor:
    """What `susy` says of `tiles`, float32 [16, 6]."""
    with torch.inference_mode():
        return susy(tiles)
