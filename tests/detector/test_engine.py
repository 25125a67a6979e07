"""The inference engine: batches across callers, and blame for the guilty alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schema.scan import TILE
from worker.detector.detector import prepare
from worker.detector.engine import InferenceEngine
from worker.detector.model import SuSy
from worker.errors import ErrorCode, PermanentError, TransientError

CPU = torch.device("cpu")
POISON, NAN = 255, 254


class Faulty(nn.Module):
    """The real network, which records its batches and fails on poisoned tiles."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.batches: list[int] = []
        self.pause = 0.0

    def forward(self, tiles: Tensor) -> Tensor:
        self.batches.append(len(tiles))
        time.sleep(self.pause)
        marks = (tiles[:, 0, 0, 0] * 255).round()
        if (marks == POISON).any():
            raise RuntimeError("a poisoned tile")
        probabilities: Tensor = self.network(tiles)
        probabilities[marks == NAN] = float("nan")
        return probabilities


@pytest.fixture
def network() -> Faulty:
    torch.manual_seed(1)
    return Faulty(prepare(SuSy(6).eval(), CPU))


@pytest.fixture
def engine(network: Faulty) -> Iterator[InferenceEngine]:
    with InferenceEngine(network, CPU, 6, batch=4) as engine:
        yield engine


def tiles(count: int, seed: int, mark: int = 0) -> list[NDArray[np.uint8]]:
    made = np.random.default_rng(seed).integers(0, 256, (count, TILE, TILE, 3), np.uint8)
    made[:, 0, 0, 0] = mark
    return list(made)


def test_each_caller_gets_its_own_tiles_scored_whatever_else_is_in_the_batch(
    engine: InferenceEngine, network: Faulty
) -> None:
    images = [tiles(count, seed) for seed, count in enumerate((1, 7, 3, 5))]
    with ThreadPoolExecutor(len(images)) as pool:
        answers = list(pool.map(engine.score, images))
    for image, answer in zip(images, answers, strict=True):
        alone = network.network(torch.from_numpy(np.stack(image)).permute(0, 3, 1, 2).float() / 255)
        np.testing.assert_allclose(answer, alone.detach().numpy(), atol=1e-5)
    assert max(network.batches) == 4


def test_waiting_tiles_of_different_images_share_a_batch(engine: InferenceEngine, network: Faulty) -> None:
    network.pause = 0.2
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(engine.score, [tiles(1, seed) for seed in range(5)]))
    assert len(network.batches) <= 3, network.batches


def test_no_tiles_are_no_work(engine: InferenceEngine, network: Faulty) -> None:
    assert engine.score([]).shape == (0, 6)
    assert network.batches == []


def test_only_the_image_that_breaks_the_network_fails(engine: InferenceEngine, network: Faulty) -> None:
    network.pause = 0.1  # so that the three meet in one batch
    with ThreadPoolExecutor(3) as pool:
        bad = pool.submit(engine.score, tiles(2, 1, mark=POISON))
        good = [pool.submit(engine.score, tiles(3, seed)) for seed in (2, 3)]
        with pytest.raises(TransientError, match="poisoned") as raised:
            bad.result()
    assert raised.value.code is ErrorCode.INFERENCE_FAILED
    for future in good:
        np.testing.assert_allclose(future.result().sum(axis=1), 1, atol=1e-5)
    assert engine.score(tiles(2, 4)).shape == (2, 6), "the engine goes on"


def test_an_answer_that_is_no_probability_fails_for_good(engine: InferenceEngine) -> None:
    with pytest.raises(PermanentError, match="NaN"):
        engine.score(tiles(1, 1, mark=NAN))


def test_an_answer_of_another_shape_fails_its_images_and_the_engine_goes_on(network: Faulty) -> None:
    with InferenceEngine(network, CPU, 7, batch=8) as engine:
        for _ in range(2):
            with pytest.raises(TransientError, match="answered") as failed:
                engine.score(tiles(1, seed=1))
            assert failed.value.code is ErrorCode.INFERENCE_FAILED


def test_a_large_image_does_not_hold_up_a_small_one(engine: InferenceEngine, network: Faulty) -> None:
    network.pause = 0.02
    large = threading.Thread(target=engine.score, args=(tiles(120, 1),))
    large.start()
    time.sleep(0.1)
    before = len(network.batches)
    engine.score(tiles(1, 2))
    waited = len(network.batches) - before
    large.join()
    assert waited <= 3, f"waited for {waited} batches of {len(network.batches)}"


def test_a_closed_engine_finishes_what_it_took_and_refuses_the_rest(network: Faulty) -> None:
    engine = InferenceEngine(network, CPU, 6, batch=4)
    network.pause = 0.2
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(engine.score, tiles(2, 1))
        time.sleep(0.1)
        engine.close()
        assert taken.result().shape == (2, 6)
    with pytest.raises(TransientError, match="shutting down"):
        engine.score(tiles(1, 2))
