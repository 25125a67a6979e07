"""Who may be in flight beside whom."""

from __future__ import annotations

import threading
import time

from worker.queue.isolation import Isolation


def start(target) -> threading.Thread:  # type: ignore[no-untyped-def]
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_who_is_to_be_alone_waits_for_those_inside_and_keeps_others_out() -> None:
    isolation = Isolation()
    inside: list[str] = []
    seen: list[list[str]] = []
    lock = threading.Lock()
    first_is_in = threading.Event()

    def shared(name: str, seconds: float) -> None:
        with isolation.shared():
            with lock:
                inside.append(name)
            first_is_in.set()
            time.sleep(seconds)
            with lock:
                inside.remove(name)

    def exclusive() -> None:
        with isolation.exclusive():
            with lock:
                seen.append(list(inside))
            time.sleep(0.2)
            with lock:
                seen.append(list(inside))

    threads = [start(lambda: shared("first", 0.2))]
    first_is_in.wait(5)
    threads.append(start(exclusive))
    time.sleep(0.05)
    threads.append(start(lambda: shared("second", 0.0)))
    for thread in threads:
        thread.join()
    assert seen == [[], []]
    assert inside == []


def test_many_run_beside_each_other() -> None:
    isolation = Isolation()
    together = threading.Barrier(4, timeout=10)

    def shared() -> None:
        with isolation.shared():
            together.wait()

    for thread in [start(shared) for _ in range(4)]:
        thread.join()
    assert not together.broken
