"""Samples of a running Python process by py-spy, which reads its memory from outside."""

from __future__ import annotations

import re
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Stack = tuple[str, ...]
"""Frames from the thread's first to the innermost: `function (file)` in Python, else a native symbol."""
RATE = 97
"""Samples per second; not a divisor of timers that the worker itself uses."""
_TEMPLATE = re.compile(r"<[^<>]*>|\([^()]*\)")


@dataclass(frozen=True)
class Samples:
    """What one process did for some time."""

    by_thread: dict[int, Counter[Stack]]
    """By the kernel's id of the thread, how often each stack was seen; threads that wait may be among them."""
    cpu: dict[int, float]
    """CPU seconds that each thread used meanwhile, as the kernel counts them."""

    def weighted(self, is_waiting: Callable[[Stack], bool]) -> dict[Stack, float]:
        """CPU seconds of each stack: a thread's time, divided among its stacks that did not wait.

        A thread that waits for a core looks as if it worked. So samples only divide the time of one thread, and never
        compare threads.
        """
        seconds: dict[Stack, float] = {}
        for thread, stacks in self.by_thread.items():
            working = {stack: count for stack, count in stacks.items() if not is_waiting(stack)}
            for stack, count in working.items():
                share = self.cpu.get(thread, 0.0) * count / sum(working.values())
                seconds[stack] = seconds.get(stack, 0.0) + share
        return seconds


def sample(process: int, seconds: float, *, native: bool) -> Samples:
    """Sample all threads of a process for `seconds`.

    Raises `RuntimeError` with what py-spy says where it may not read the process (it needs ptrace).
    """
    with tempfile.TemporaryDirectory(prefix="susy-bench-") as folder:
        path = Path(folder) / "stacks.txt"
        program = str(Path(sysconfig.get_path("scripts")) / "py-spy")
        command = [program, "record", "--pid", str(process), "--duration", str(round(seconds)), "--rate", str(RATE)]
        command += ["--threads", "--format", "raw", "--output", str(path), *(["--native"] if native else [])]
        before = thread_cpu(process)
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode or not path.exists():
            raise RuntimeError(f"py-spy could not sample the worker: {ran.stderr.strip() or ran.stdout.strip()}")
        used = {thread: after - before.get(thread, 0.0) for thread, after in thread_cpu(process).items()}
        return Samples(parse(path.read_text()), used)


def thread_cpu(process: int) -> dict[int, float]:
    """CPU seconds of each thread of a process so far; none of a process that is gone."""
    found = {}
    for task in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with suppress(OSError):  # the thread ended
            found[int(task.parent.name)] = int(task.read_text().split()[0]) / 1e9
    return found


def parse(raw: str) -> dict[int, Counter[Stack]]:
    """By thread, the stacks of py-spy's raw format: `thread (ID): name;frame;frame count` per line."""
    threads: dict[int, Counter[Stack]] = {}
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        thread, *stack = frames.split(";")
        number = re.match(r"thread \((\d+)\)", thread)
        threads.setdefault(int(number[1]) if number else 0, Counter())[tuple(map(_frame, stack))] += int(count)
    return threads


def _frame(frame: str) -> str:
    """Without line numbers, and without the arguments and templates of C++."""
    python = re.fullmatch(r"(\S+) \((.*?\.py)(?::\d+)?\)", frame)
    if python:
        return f"{python[1]} ({_module(python[2])})"
    name = re.sub(r" \([^()]*\)$", "", frame)  # the library
    while (shorter := _TEMPLATE.sub("", name)) != name:
        name = shorter
    return name.strip() or frame


def _module(path: str) -> str:
    """The path below `site-packages` or the checkout, so that nothing of the machine shows."""
    for folder in ("site-packages/", f"{Path(__file__).parents[2]}/"):
        path = path.rpartition(folder)[2]
    return re.sub(r"^.*/lib/python3\.\d+/", "", path)
