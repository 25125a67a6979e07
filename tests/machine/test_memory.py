"""The memory budget: who waits, in what order, and what the default is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from schema.messages import Submission
from schema.states import CheckState
from tests.support.commands import Processes, run
from tests.support.waiting import eventually
from worker.errors import ErrorCode, TransientError
from worker.machine.memory import MemoryBudget, available_memory
from worker.settings import load_settings
from worker.store import Store


class Image(threading.Thread):
    """Reserves memory, and keeps it until it is told to finish."""

    def __init__(self, budget: MemoryBudget, amount: int, **options: object) -> None:
        super().__init__(daemon=True)
        self._reserve = budget.reserve(amount, **options)  # type: ignore[arg-type]
        self.running, self.finish = threading.Event(), threading.Event()
        self.error: TransientError | None = None
        before = len(budget._waiting) + budget._admitted
        self.start()
        eventually(lambda: len(budget._waiting) + budget._admitted > before or self.error)

    def run(self) -> None:
        try:
            with self._reserve as self.reservation:
                self.running.set()
                self.finish.wait()
        except TransientError as error:
            self.error = error

    def end(self) -> None:
        self.finish.set()
        self.join()


def is_waiting(image: Image) -> bool:
    return not image.running.wait(0.05)


def test_images_run_together_while_they_fit_and_wait_otherwise() -> None:
    budget = MemoryBudget(100)
    first, second, third = Image(budget, 60), Image(budget, 40), Image(budget, 10)
    assert first.running.wait(5)
    assert second.running.wait(5)
    assert is_waiting(third)
    second.end()
    assert third.running.wait(5)
    first.end()
    third.end()
    assert budget.used == 0


def test_an_image_beyond_the_budget_runs_alone() -> None:
    budget = MemoryBudget(100)
    small, large = Image(budget, 10), Image(budget, 1000)
    assert is_waiting(large)
    small.end()
    assert large.running.wait(5)
    other = Image(budget, 1)
    assert is_waiting(other)
    large.end()
    assert other.running.wait(5)
    other.end()


def test_small_images_do_not_pass_a_large_one_that_waits() -> None:
    budget = MemoryBudget(100)
    running = [Image(budget, 50)]
    large = Image(budget, 90)
    small = [Image(budget, 10) for _ in range(5)]
    assert all(map(is_waiting, [large, *small]))
    running[0].end()
    assert large.running.wait(5)
    assert small[0].running.wait(5)
    assert all(map(is_waiting, small[1:]))
    for image in (large, *small):
        image.end()


def test_what_an_image_gives_back_lets_the_next_one_in() -> None:
    budget = MemoryBudget(100)
    first, second = Image(budget, 80, held=10), Image(budget, 60)
    assert first.running.wait(5)
    first.reservation.reduce_to(40)
    assert second.running.wait(5)
    assert budget.used == 100
    first.reservation.reduce_to(1000)  # never grows
    assert budget.used == 100
    first.end()
    second.end()


def test_what_waiting_images_hold_counts() -> None:
    budget = MemoryBudget(100)
    running, waiting = Image(budget, 30), Image(budget, 90, held=20)
    assert budget.used == 50
    running.end()
    assert waiting.running.wait(5)
    assert budget.used == 110
    waiting.end()


def test_what_arrives_counts_and_never_waits() -> None:
    budget = MemoryBudget(100)
    with budget.reserve(90), budget.arriving() as received:
        received(30)
        received(20)
        assert budget.used == 140
    running = Image(budget, 10)
    with budget.arriving() as received:
        received(60)
        waiting = Image(budget, 50)
        assert is_waiting(waiting)
    assert waiting.running.wait(5)
    running.end()
    waiting.end()
    assert budget.used == 0


def test_a_cancelled_image_leaves_the_line_and_the_next_one_runs() -> None:
    budget, lost = MemoryBudget(100), threading.Event()
    running, given_up, behind = Image(budget, 50), Image(budget, 90, held=5, cancelled=lost), Image(budget, 50)
    assert is_waiting(behind)
    lost.set()
    assert behind.running.wait(5)
    assert given_up.error is not None
    assert given_up.error.code is ErrorCode.LEASE_LOST
    assert budget.used == 100
    running.end()
    behind.end()


def test_a_failure_inside_returns_the_share() -> None:
    budget = MemoryBudget(100)
    with pytest.raises(KeyError), budget.reserve(70):
        raise KeyError
    assert budget.used == 0


def test_the_pause_covers_the_waiting_and_nothing_else() -> None:
    budget, paused = MemoryBudget(100), []

    @contextmanager
    def pause() -> Iterator[None]:
        paused.append(True)
        yield
        paused.append(False)

    running = Image(budget, 100)
    waiting = Image(budget, 1, pause=pause)
    assert is_waiting(waiting)
    assert paused == [True]
    running.end()
    assert waiting.running.wait(5)
    assert paused == [True, False]
    waiting.end()


def test_many_threads_never_exceed_the_budget() -> None:
    budget, seen = MemoryBudget(100), []

    def work(amount: int) -> None:
        for _ in range(50):
            with budget.reserve(amount) as reservation:
                seen.append(budget.used)
                reservation.reduce_to(amount // 2)

    threads = [threading.Thread(target=work, args=(10 + 8 * number,)) for number in range(10)]
    with ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
    assert len(seen) == 500
    assert max(seen) <= 100
    assert budget.used == 0


GIB = 2**30


def machine(root: Path, memberships: str, limits: dict[str, str]) -> Path:
    """A root folder with the files of the kernel: 16 GiB of memory, the process's cgroups, and their limits."""
    files = {"proc/meminfo": f"MemTotal: {16 * GIB // 1024} kB\nMemFree: 5 kB\n", "proc/self/cgroup": memberships}
    for name, text in {**files, **{f"sys/fs/cgroup/{name}": text for name, text in limits.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("memberships", "limits", "expected"),
    [
        ("", {}, 16 * GIB),
        ("0::/\n", {"memory.max": f"{GIB}\n"}, GIB),
        ("0::/\n", {"memory.max": "max\n"}, 16 * GIB),
        ("0::/\n", {}, 16 * GIB),
        ("0::/pod/container\n", {"pod/memory.max": str(2 * GIB), "pod/container/memory.max": "max"}, 2 * GIB),
        ("0::/pod/container\n", {"memory.max": str(3 * GIB)}, 3 * GIB),
        ("0::/../other\n", {"memory.max": str(GIB)}, GIB),
        ("5:cpu,memory:/docker/abc\n1:name=systemd:/\n", {"memory/memory.limit_in_bytes": str(GIB)}, GIB),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": str(GIB)}, GIB),
        ("4:memory:/\n0::/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 16 * GIB),
        ("4:cpu:/\n", {"memory/memory.limit_in_bytes": str(GIB)}, 16 * GIB),
    ],
)
def test_the_available_memory_is_the_machines_or_the_cgroups(
    memberships: str, limits: dict[str, str], expected: int, tmp_path: Path
) -> None:
    assert available_memory(machine(tmp_path, memberships, limits)) == expected


def test_the_available_memory_of_a_machine_without_cgroups(tmp_path: Path) -> None:
    (machine(tmp_path, "", {}) / "proc/self/cgroup").unlink()
    assert available_memory(tmp_path) == 16 * GIB


def test_the_budget_is_a_setting_with_a_unit_and_half_of_the_memory_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().memory_budget == available_memory() // 2
    monkeypatch.setenv("SUSY_MEMORY", "1.5GiB")
    assert load_settings().memory_budget == 3 * GIB // 2


TRIM_SCRIPT = """
import time
from pathlib import Path
from worker.machine.memory import MemoryBudget

def resident():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) * 1024

memory = MemoryBudget(10**9, trim_after=0.2)
before = resident()
blocks = [bytes(1000) for _ in range(200_000)]
del blocks[:-1]  # the last one keeps the end of the heap
print(resident() - before)
with memory.reserve(1):
    pass
time.sleep(1)
print(resident() - before)
"""


def test_what_images_have_freed_is_returned_to_the_kernel() -> None:
    ended = run(sys.executable, "-c", TRIM_SCRIPT)
    assert ended.code == 0, ended.stderr
    kept, left = map(int, ended.stdout.split())
    assert kept > 100_000_000, "glibc keeps it by itself"
    assert left < 20_000_000


REPEAT_SCRIPT = """
import resource
from worker.machine.memory import share_one_heap

share_one_heap()

def faults_of_a_pass():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"x" * (12 << 20) for _ in range(6)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults_of_a_pass(), faults_of_a_pass(), faults_of_a_pass())
"""


def test_what_a_forward_pass_has_freed_is_there_for_the_next_one() -> None:
    ended = run(sys.executable, "-c", REPEAT_SCRIPT)
    assert ended.code == 0, ended.stderr
    first, *later = map(int, ended.stdout.split())
    assert max(later) < first / 3, "pages that the kernel had to supply"


HEAP = 1 << 26
"""Bytes between two places where glibc puts a thread's own heap."""


def heaps_of_threads(process: int) -> int:
    """How many heaps a process has beside the common one: writable, at such a place, with the rest reserved."""
    mappings = []
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        addresses, permissions, *_ = line.split()
        start, end = (int(address, 16) for address in addresses.split("-"))
        mappings.append((start, end, permissions))
    starts = [start for start, _, permissions in mappings if start % HEAP == 0 and permissions == "rw-p"]
    reserved = {end for _, end, permissions in mappings if permissions == "---p"}
    return sum(start + HEAP in reserved for start in starts)


WORKERS = {
    "susy worker": ("-m", "worker", "worker"),
    "celery": ("-m", "celery", "-A", "susy_worker.celery", "worker"),
}


@pytest.mark.parametrize("command", WORKERS.values(), ids=WORKERS)
def test_all_threads_of_a_worker_share_one_heap(
    processes: Processes, store: Store, images: Path, command: tuple[str, ...]
) -> None:
    """Each further one would keep the peak of the images that its threads have had: 18 of them took 250 MB."""
    worker = processes.spawn(sys.executable, *command).ready(90)
    check_id = store.submit(Submission(source="s", uri=str(images / "a.png"))).check_id
    processes.start_reconciler()
    worker.eventually(lambda: store.show(check_id).state is CheckState.DONE)
    assert heaps_of_threads(worker.pid) == 0
