"""Samples of a running Python process by py-spy, which reads its memory from outside."""

from __future__ import annotations

import re
import subprocess
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path

Stack = tuple[str, ...]
"""Frames from the thread's first to the innermost: `function (file)` in Python, else a native symbol."""
RATE = 97
"""Samples per second; not a divisor of timers that the worker itself uses."""
_TEMPLATE = re.compile(r"<[^<>]*>|\([^()]*\)")


def sample(process: int, seconds: float, *, native: bool) -> Counter[Stack]:
    """How often each stack was on a CPU, or ready to be, during `seconds`. Threads that wait are not counted.

    Raises `RuntimeError` with what py-spy says where it may not read the process (it needs ptrace).
    """
    with tempfile.TemporaryDirectory(prefix="susy-bench-") as folder:
        path = Path(folder) / "stacks.txt"
        program = str(Path(sysconfig.get_path("scripts")) / "py-spy")
        command = [program, "record", "--pid", str(process), "--duration", str(round(seconds)), "--rate", str(RATE)]
        command += ["--format", "raw", "--output", str(path), *(["--native"] if native else [])]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode or not path.exists():
            raise RuntimeError(f"py-spy could not sample the worker: {ran.stderr.strip() or ran.stdout.strip()}")
        return parse(path.read_text())


def parse(raw: str) -> Counter[Stack]:
    """The stacks of py-spy's raw format, `frame;frame;frame count` per line."""
    stacks: Counter[Stack] = Counter()
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        stacks[tuple(map(_frame, frames.split(";")))] += int(count)
    return stacks


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
