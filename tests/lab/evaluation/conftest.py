import pytest

from tests.support.labelled import tint_scorer
from tests.support.released import random_susy
from worker.detector.model import SuSy
from worker.lab.evaluation.scorer import Scorer


@pytest.fixture(scope="session")
def tint(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return tint_scorer(tmp_path_factory.mktemp("tint"))


@pytest.fixture(scope="session")
def network() -> SuSy:
    return random_susy(num_classes=3)
