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
) -> Iterator[Result]:
    """`function(item)` of each item, in the items' order whatever the number of processes.

    By default there is one process per core, but no more than one per `worth_a_process` items. Function, items and
    results must be picklable. Processes are spawned, not forked: the caller may hold PyTorch's threads. An exception of
    the function ends the iteration and is raised here; a process that dies raises `ConfigurationError`
    (`out_of_memory`).
    """
    count = min(processes or len(os.sched_getaffinity(0)), len(items) // worth_a_process)
    with progress_bar(Console(stderr=True)) as progress:
        if count < 2:
            yield from progress.track(map(function, items), total=len(items), description=description)
            return
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            try:
                results = pool.map(function, items, chunksize=_CHUNK)
                yield from progress.track(results, total=len(items), description=description)
            except BrokenProcessPool as error:
                raise ConfigurationError(
                    ErrorCode.OUT_OF_MEMORY,
                    f"a process ended while {description}, most likely for lack of memory; free some and start again",
                ) from error


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
