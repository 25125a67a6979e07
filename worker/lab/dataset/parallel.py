"""One function over many images, on all cores, in order, with a progress bar."""

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
"""Items for which starting one more process pays: it takes about as long as decoding so many images."""
_CHUNK = 4  # items sent at a time: enough that sending costs nothing, few enough that the bar moves


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], description: str, processes: int | None = None
) -> Iterator[Result]:
    """`function(item)` of each item, in the items' order whatever the number of processes.

    Function, items and results must be picklable. The processes are spawned, not forked: the caller may hold
    PyTorch's threads. An exception of the function ends the iteration and is raised here.
    """
    wanted = processes or len(os.sched_getaffinity(0))
    useful = min(wanted, len(items) // WORTH_A_PROCESS)
    with _progress() as progress:
        if useful < 2:
            yield from progress.track(map(function, items), total=len(items), description=description)
            return
        with ProcessPoolExecutor(useful, mp_context=get_context("spawn")) as pool:
            try:
                results = pool.map(function, items, chunksize=_CHUNK)
                yield from progress.track(results, total=len(items), description=description)
            except BrokenProcessPool as error:
                raise ConfigurationError(
                    ErrorCode.OUT_OF_MEMORY,
                    f"a process ended while {description}, most likely for lack of memory; free some and start again",
                ) from error


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
