"""Processes that decode side by side share one budget."""

from __future__ import annotations

import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from worker.lab.dataset.parallel import memory_of_process, parallel_map
from worker.lab.dataset.shared_budget import SharedBudget

SECONDS = 0.05


def reserved(amount: int) -> tuple[float, float]:
    """When a reservation began and ended, by the machine's clock."""
    with memory_of_process().reserve(amount) as share:
        began = time.monotonic()
        time.sleep(SECONDS)
        ended = time.monotonic()
        share.reduce_to(0)
        time.sleep(SECONDS)
    return began, ended


def most_at_once(spans: list[tuple[float, float]]) -> int:
    events = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    most = now = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


@pytest.mark.parametrize(("budget", "most"), [(100, 1), (10, 1), (10_000, 3)])
def test_no_more_images_are_in_flight_than_the_budget_holds(budget: int, most: int) -> None:
    """A budget smaller than one image still lets one at a time pass."""
    spans = list(parallel_map(reserved, [60] * 12, "", processes=3, worth_a_process=1, memory=budget))
    assert 1 <= most_at_once(spans) <= most
    if most > 1:
        assert most_at_once(spans) > 1


def test_one_process_finds_the_budget_too() -> None:
    assert len(list(parallel_map(reserved, [60], "", memory=10))) == 1


def test_what_is_given_back_early_can_be_used() -> None:
    budget = SharedBudget(100, get_context("spawn"))
    with budget.reserve(80, held=20) as share:
        share.reduce_to(30)
        with budget.reserve(70):
            assert budget._used.value == 100
    assert (budget._used.value, budget._admitted.value) == (0, 0)


def test_an_image_of_a_data_set_without_end_is_refused(tmp_path: Path) -> None:
    from worker.errors import InputDataError
    from worker.lab.dataset.entries import FileSource

    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputDataError, match="more than"):
        FileSource(tmp_path / "sparse.png").read()
