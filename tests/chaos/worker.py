"""The real worker and the real reconciler, with a fault at a named point. The product knows nothing of these.

CHAOS_AT       popped | claimed | scoring | before_commit | committed; of a deliverer: taken | answered | recorded
CHAOS_ACT      kill (SIGKILL) | stop (SIGSTOP) | sleep (as long as it takes)
CHAOS_AFTER    how often the point is passed unharmed; 0 when absent
CHAOS_FORWARD  segfault | kill | hang: what the network does on a tile that is all of one colour (POISON)
CHAOS_BROKEN   a path: whatever is read from that file is an input/output error
CHAOS_STAND_IN a scorer without a network, whose scores take CHAOS_SECONDS
CHAOS_SCHEDULE a factor for the times between attempts at a callback, and of its circuit
CHAOS_MUTATION a guard that is switched off (`tests.chaos.mutations`)
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import typer

POISON = (255, 0, 255)


def run_worker() -> None:
    """`susy worker`, prepared."""
    from tests.chaos.mutations import mutate_process
    from tests.chaos.stand_in import StandIn
    from worker.queue import runtime as runtime_module

    if os.environ.get("CHAOS_STAND_IN"):
        runtime_module.Detector = StandIn  # type: ignore[assignment,misc]
    mutate_process()
    _break(os.environ.get("CHAOS_BROKEN"))
    from worker.cli.services import work
    from worker.queue.runtime import current

    start = current.start

    def start_prepared(given: Any) -> Any:
        runtime = start(given)
        _prepare(runtime)
        return runtime

    current.start = start_prepared  # type: ignore[method-assign]
    _run(work.worker)


def run_reconciler() -> None:
    """`susy reconciler`, which takes a message for lost after two seconds instead of thirty."""
    from tests.chaos.mutations import mutate_process
    from worker.cli.services import work
    from worker.queue import reconciler
    from worker.queue.dispatcher import LaneDispatcher

    reconciler.LaneDispatcher = partial(LaneDispatcher, lost_after=2.0)  # type: ignore[misc,assignment]
    mutate_process()
    _run(work.reconciler)


def run_deliver() -> None:
    """`susy deliver`, with a schedule that is as much shorter as CHAOS_SCHEDULE says."""
    from tests.chaos.mutations import mutate_process
    from worker.callbacks import schedule
    from worker.cli.services import work
    from worker.store import callbacks

    factor = float(os.environ.get("CHAOS_SCHEDULE", "1"))
    schedule.RETRY_AFTER = tuple(wait * factor for wait in schedule.RETRY_AFTER)  # type: ignore[assignment]
    callbacks.FIRST_OPEN, callbacks.LONGEST_OPEN = callbacks.FIRST_OPEN * factor, callbacks.LONGEST_OPEN * factor
    claim, record = callbacks.CallbackStore.claim, callbacks.CallbackStore.record
    fault = _fault()

    def claim_faultily(*given: Any, **options: Any) -> Any:
        claimed = claim(*given, **options)
        if claimed:
            fault("taken")
        return claimed

    def record_faultily(*given: Any) -> Any:
        fault("answered")
        recorded = record(*given)
        fault("recorded")
        return recorded

    callbacks.CallbackStore.claim, callbacks.CallbackStore.record = claim_faultily, record_faultily  # type: ignore[method-assign]
    mutate_process()
    _run(work.deliver)


def _run(command: Callable[[], None]) -> None:
    try:
        command()
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None


def _prepare(runtime: Any) -> None:
    store, detector = runtime.store, runtime.detector
    claim, record, score = store.claim, store.record, detector.score
    fault = _fault()

    def claim_faultily(*given: Any, **options: Any) -> Any:
        fault("popped")
        claimed = claim(*given, **options)
        if claimed is not None:
            fault("claimed")
        return claimed

    def score_faultily(*given: Any) -> Any:
        fault("scoring")
        return score(*given)

    def record_faultily(*given: Any, **options: Any) -> Any:
        outcome = record(*given, **options)
        fault("committed")
        return outcome

    store.claim, store.record, detector.score = claim_faultily, record_faultily, score_faultily
    _inside_the_transaction(fault)
    if os.environ.get("CHAOS_FORWARD"):
        detector.engine._network = _poisoned(detector.engine._network, os.environ["CHAOS_FORWARD"])


def _break(broken: str | None) -> None:
    from worker.sources import files as sources

    open_beneath = sources._open_beneath

    def open_faultily(root: Path, path: Path) -> int:
        # Address 0 of a process is never mapped: the kernel answers a read of it with EIO.
        return os.open("/proc/self/mem", os.O_RDONLY) if str(path) == broken else open_beneath(root, path)

    sources._open_beneath = open_faultily


def _fault() -> Any:
    at, act = os.environ.get("CHAOS_AT"), os.environ.get("CHAOS_ACT", "kill")
    unharmed = int(os.environ.get("CHAOS_AFTER", "0"))
    passed = itertools.count()

    def fault(point: str) -> None:
        if point == at and next(passed) == unharmed:
            _act(act)

    return fault


def _inside_the_transaction(fault: Any) -> None:
    from worker.store import recording

    keep_scan, write_at_once = recording.keep_scan, recording._write_at_once

    def keep_scan_faultily(*given: Any) -> Any:
        kept = keep_scan(*given)
        fault("before_commit")
        return kept

    def write_at_once_faultily(connection: Any, *given: Any) -> Any:
        with connection.transaction():  # in which the statement does not commit by itself
            is_written = write_at_once(connection, *given)
            fault("before_commit")
        return is_written

    recording.keep_scan, recording._write_at_once = keep_scan_faultily, write_at_once_faultily


def _poisoned(network: Any, act: str) -> Any:
    import torch

    colour = torch.tensor(POISON).view(1, 3, 1, 1) / 255

    def forward(tiles: Any) -> Any:
        if bool((tiles == colour.to(tiles)).flatten(1).all(1).any()):
            _act(act)
        return network(tiles)

    return forward


def _act(act: str) -> None:
    match act:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "segfault":
            ctypes.string_at(0)
        case "hang" | "sleep":
            threading.Event().wait()
