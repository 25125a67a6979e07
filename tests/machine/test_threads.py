"""Mapping in threads: in order, with a bounded number begun."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest

from worker.machine.threads import map_in_threads


def test_results_come_in_the_order_of_the_items() -> None:
    def slower_first(number: int) -> int:
        time.sleep(0.02 if number % 4 == 0 else 0)
        return number

    assert list(map_in_threads(slower_first, range(50), 4)) == list(range(50))
    assert list(map_in_threads(slower_first, [], 4)) == []


def test_items_are_taken_as_needed_and_not_after_the_end() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    with closing(map_in_threads(str, items(), 4)) as results:
        assert [next(results), next(results)] == ["0", "1"]
    assert len(taken) <= 9
    before = len(taken)
    time.sleep(0.05)
    assert len(taken) == before


def test_an_error_of_one_item_is_raised_and_ends_the_others() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_in_threads(int, ["1", "x", "2"], 2))
