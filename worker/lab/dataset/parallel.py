"""One function over many items, on all cores, in order, with a progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worker.errors import ConfigurationError, ErrorCode
from worker.lab.dataset.shared_budget import SharedBudget
from worker.machine.memory import default_budget

Item = TypeVar("Item")
Result = TypeVar("Result")

WORTH_A_PROCESS = 32
"""Images per process: starting one more takes about as long as decoding so many."""
_CHUNK = 4  # items sent at a time: enough that sending costs nothing, few enough that the bar moves


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    description: str,
    processes: int | None = None,
    *,
    worth_a_process: int = WORTH_A_PROCESS,
    memory: int | None = None,
) -> Iterator[Result]:
    """`function(item)` of each item, in the items' order whatever the number of processes.

    By default there is one process per core, but no more than one per `worth_a_process` items. Function, items and
    results must be picklable. Processes are spawned, not forked: the caller may hold PyTorch's threads. The function
    finds in `memory_of_process` a budget of `memory` bytes that all of them share.

    An exception of the function ends the iteration and is raised here; a process that dies raises `ConfigurationError`
    (`out_of_memory`).
    """
    count = min(processes or len(os.sched_getaffinity(0)), len(items) // worth_a_process)
    context = get_context("spawn")
    budget = SharedBudget(default_budget() if memory is None else memory, context)
    with progress_bar(Console(stderr=True)) as progress:
        if count < 2:
            _share(budget)
            yield from progress.track(map(function, items), total=len(items), description=description)
            return
        with ProcessPoolExecutor(count, context, initializer=_share, initargs=(budget,)) as pool:
            try:
                results = pool.map(function, items, chunksize=_CHUNK)
                yield from progress.track(results, total=len(items), description=description)
            except BrokenProcessPool as error:
                raise ConfigurationError(
                    ErrorCode.OUT_OF_MEMORY,
                    f"a process ended while {description}, most likely for lack of memory; free some and start again",
                ) from error


_shared: SharedBudget | None = None


def _share(budget: SharedBudget) -> None:
    global _shared  # noqa: PLW0603 (of a process that `parallel_map` has started)
    _shared = budget


def memory_of_process() -> SharedBudget:
    """The budget that the processes of `parallel_map` share; only for functions that it calls."""
    if _shared is None:
        raise RuntimeError("this process was not started by parallel_map")
    return _shared


def progress_bar(console: Console, *, transient: bool = False) -> Progress:
    """A bar with count, time taken and time left; hidden unless `console` is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=transient,
    )
