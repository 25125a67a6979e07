"""Who may be in flight beside whom."""

from __future__ import annotations

import threading
import time

from worker.queue.company import Company


def start(target) -> threading.Thread:  # type: ignore[no-untyped-def]
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_who_is_to_be_alone_waits_for_those_inside_and_keeps_others_out() -> None:
    company = Company()
    inside: list[str] = []
    seen: list[list[str]] = []
    lock = threading.Lock()
    first_is_in = threading.Event()

    def beside(name: str, seconds: float) -> None:
        with company.beside_others():
            with lock:
                inside.append(name)
            first_is_in.set()
            time.sleep(seconds)
            with lock:
                inside.remove(name)

    def alone() -> None:
        with company.alone():
            with lock:
                seen.append(list(inside))
            time.sleep(0.2)
            with lock:
                seen.append(list(inside))

    threads = [start(lambda: beside("first", 0.2))]
    first_is_in.wait(5)
    threads.append(start(alone))
    time.sleep(0.05)
    threads.append(start(lambda: beside("second", 0.0)))
    for thread in threads:
        thread.join()
    assert seen == [[], []]
    assert inside == []


def test_many_run_beside_each_other() -> None:
    company = Company()
    together = threading.Barrier(4, timeout=10)

    def beside() -> None:
        with company.beside_others():
            together.wait()

    for thread in [start(beside) for _ in range(4)]:
        thread.join()
    assert not together.broken
