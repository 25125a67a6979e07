"""One function over many items in threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item], at_once: int) -> Iterator[Result]:
    """`function(item)` of each item, in the items' order; `at_once` of them run at a time.

    Unlike `Executor.map` it takes items as they are needed, so that a million of them are not all waiting in memory,
    and when the iterator is closed no further item is begun.
    """
    with ThreadPoolExecutor(at_once) as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(function, item))
                if len(begun) == 2 * at_once:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
