"""The inference engine: batches across callers, and blame for the guilty alone."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schema.scan import TILE
from tests.support.waiting import eventually
from worker.detector.engine import InferenceEngine
from worker.errors import ErrorCode, PermanentError, TransientError

CPU = torch.device("cpu")
POISON, NAN = 255, 254


class SixPixels(nn.Module):
    """A network that answers at once, and by each tile alone: six probabilities from six of its values."""

    def forward(self, tiles: Tensor) -> Tensor:
        return torch.softmax(5 * tiles[:, :, 100:102, 100].flatten(1), dim=1)


class Faulty(nn.Module):
    """A network that records its batches and fails on poisoned tiles."""

    def __init__(self) -> None:
        super().__init__()
        self.network = SixPixels()
        self.batches: list[int] = []
        self.pause = 0.0
        self.memory = 1000
        """Tiles that fit in memory."""
        self.shortage: Callable[[], Exception] = MemoryError

    def forward(self, tiles: Tensor) -> Tensor:
        self.batches.append(len(tiles))
        time.sleep(self.pause)
        if len(tiles) > self.memory:
            raise self.shortage()
        marks = (tiles[:, 0, 0, 0] * 255).round()
        if (marks == POISON).any():
            raise RuntimeError("a poisoned tile")
        probabilities: Tensor = self.network(tiles)
        probabilities[marks == NAN] = float("nan")
        return probabilities


@pytest.fixture
def network() -> Faulty:
    return Faulty()


@pytest.fixture
def engine(network: Faulty) -> Iterator[InferenceEngine]:
    with InferenceEngine(network, CPU, 6, batch=4) as engine:
        yield engine


def tiles(count: int, seed: int, mark: int = 0) -> list[NDArray[np.uint8]]:
    made = np.random.default_rng(seed).integers(0, 256, (count, TILE, TILE, 3), np.uint8)
    made[:, 0, 0, 0] = mark
    return list(made)


def alone(network: Faulty, image: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """What the network answers to the tiles of one image."""
    with torch.inference_mode():
        return np.asarray(network.network(torch.from_numpy(np.stack(image)).permute(0, 3, 1, 2).float() / 255))


def test_each_caller_gets_its_own_tiles_scored_whatever_else_is_in_the_batch(
    engine: InferenceEngine, network: Faulty
) -> None:
    images = [tiles(count, seed) for seed, count in enumerate((1, 7, 3, 5))]
    with ThreadPoolExecutor(len(images)) as pool:
        answers = list(pool.map(engine.score, images))
    for image, answer in zip(images, answers, strict=True):
        np.testing.assert_allclose(answer, alone(network, image), atol=1e-5)
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


SHORTAGES = {
    "host": MemoryError,
    "device": lambda: torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "torch's allocator": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
    "TorchScript": lambda: RuntimeError("The following operation failed ... RuntimeError: CUDA out of memory."),
    "cuBLAS": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    "C++": lambda: RuntimeError("std::bad_alloc"),
}


@pytest.mark.parametrize("shortage", SHORTAGES.values(), ids=SHORTAGES.keys())
def test_a_batch_that_does_not_fit_in_memory_is_halved_until_it_does(
    shortage: Callable[[], Exception], network: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    network.memory, network.shortage = 3, shortage
    with InferenceEngine(network, CPU, 6, batch=16) as engine:
        large = tiles(21, 1)
        np.testing.assert_allclose(engine.score(large), alone(network, large), atol=1e-5)
        assert network.batches[:3] == [16, 8, 4]
        assert set(network.batches[3:]) <= {1, 2}
        before = len(network.batches)
        engine.score(tiles(6, 2))
        assert network.batches[before:] == [2, 2, 2], "the size that fits is remembered"
    logged = [record for record in caplog.records if record.message == "batch_reduced"]
    assert [record.tiles for record in logged] == [2], "one line"  # type: ignore[attr-defined]


def test_a_larger_batch_is_tried_again_later(network: Faulty) -> None:
    with InferenceEngine(network, CPU, 6, batch=4, larger_again_after=1.0) as engine:
        network.memory = 1
        engine.score(tiles(4, 1))
        network.memory = 1000
        engine.score(tiles(2, 1))
        assert network.batches[-2:] == [1, 1]
        for larger in (2, 4):
            time.sleep(1.1)
            before = len(network.batches)
            engine.score(tiles(8, 1))
            assert max(network.batches[before:]) == larger, "as configured, when memory was free again"


def test_a_single_tile_that_does_not_fit_fails_its_image_for_now(engine: InferenceEngine, network: Faulty) -> None:
    network.memory = 0
    with pytest.raises(TransientError, match="one tile does not fit in the memory for cpu: MemoryError") as failed:
        engine.score(tiles(2, 1))
    assert failed.value.code is ErrorCode.OUT_OF_MEMORY
    assert network.batches == [2, 1, 1], "tried twice, then the image's other tile is not"
    network.memory = 1
    assert engine.score(tiles(2, 1)).shape == (2, 6)


def test_a_failed_batch_leaves_no_tensor_in_memory(engine: InferenceEngine, network: Faulty) -> None:
    given: list[weakref.ref[Tensor]] = []
    left: list[int] = []
    forward = network.forward

    def remember(tiles: Tensor) -> Tensor:
        left.append(sum(reference() is not None for reference in given))
        given.append(weakref.ref(tiles))
        return forward(tiles)

    network.memory = 0
    network.forward = remember  # type: ignore[method-assign]
    with pytest.raises(TransientError):
        engine.score(tiles(1, 1))
    assert left == [0, 0], "the second try finds the memory of the first one free"


def test_tiles_of_a_cancelled_image_are_dropped_and_the_others_fill_the_batches(
    engine: InferenceEngine, network: Faulty
) -> None:
    network.pause = 0.1
    cancelled = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        unwanted = pool.submit(engine.score, tiles(40, 1), cancelled)
        eventually(lambda: len(network.batches) >= 2)
        cancelled.set()
        wanted = pool.submit(engine.score, tiles(8, 2))
        with pytest.raises(TransientError, match="no longer wanted") as dropped:
            unwanted.result()
        assert wanted.result().shape == (8, 6)
    assert dropped.value.code is ErrorCode.LEASE_LOST
    assert sum(network.batches) <= 8 + 4 * 4
    assert network.batches[-2:] == [4, 4]


def test_an_image_that_is_cancelled_before_it_is_scored_reaches_no_network(
    engine: InferenceEngine, network: Faulty
) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(TransientError):
        engine.score(tiles(3, 1), cancelled)
    assert network.batches == []
    assert engine.score(tiles(1, 1)).shape == (1, 6)


def test_lanes_score_one_image_together_and_answer_as_one_lane_does(network: Faulty) -> None:
    at_once, most = threading.Semaphore(2), threading.Barrier(2, timeout=20)
    forward = network.forward

    def together(given: Tensor) -> Tensor:
        assert at_once.acquire(blocking=False), "more lanes than two"
        most.wait()  # passes only when both lanes are inside the network
        try:
            return forward(given)
        finally:
            at_once.release()

    image = tiles(6, 1)
    expected = alone(network, image)
    network.forward = together  # type: ignore[method-assign]
    with InferenceEngine(network, CPU, 6, batch=4, lanes=2) as engine:
        eventually(lambda: engine._waiting._idle == 2, 20)  # a lane that has not started yet gets no share
        np.testing.assert_allclose(engine.score(image), expected, atol=1e-5)
    assert sorted(network.batches) == [3, 3], "each idle lane takes its share"


@pytest.mark.parametrize("lanes", [2, 5])
def test_every_tile_is_answered_once_whatever_the_lanes(lanes: int, network: Faulty) -> None:
    images = [tiles(count, seed) for seed, count in enumerate((1, 9, 2, 5, 3))]
    images.append(tiles(2, 9, mark=POISON))
    with InferenceEngine(network, CPU, 6, batch=4, lanes=lanes) as engine, ThreadPoolExecutor(len(images)) as pool:
        answers = [pool.submit(engine.score, image) for image in images]
        with pytest.raises(TransientError, match="poisoned"):
            answers.pop().result()
        for image, answer in zip(images, answers, strict=False):
            np.testing.assert_allclose(answer.result(), alone(network, image), atol=1e-5)


def test_a_lane_uses_one_core(network: Faulty) -> None:
    forward, threads = network.forward, []

    def count(given: Tensor) -> Tensor:
        threads.append(torch.get_num_threads())
        return forward(given)

    network.forward = count  # type: ignore[method-assign]
    with InferenceEngine(network, CPU, 6) as engine:
        engine.score(tiles(1, 1))
    assert threads == [1]


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
