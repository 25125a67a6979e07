"""What a process does whose memory is measured: it is forked from one that has imported all of this, and decoded
nothing.

The peak is read from /proc: the one that getrusage tells begins with that of the process that started this one.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pillow_heif  # noqa: F401 (as decoding imports it)

from worker.errors import PermanentError
from worker.intake.decode import decode, with_decoded
from worker.machine.memory import MemoryBudget

MAX_PIXELS = 100_000_000


def decode_each() -> None:
    """`FIRST FILE…`: print the codes of the refusals, then the bytes by which the peak grew after `FIRST`."""
    first, *others = (Path(name).read_bytes() for name in sys.argv[1:])
    decode(first, MAX_PIXELS)
    before = _peak()
    for content in others:
        try:
            decode(content, MAX_PIXELS)
        except PermanentError as error:
            print(error.code)
    print(_peak() - before)


def decode_in_four_threads() -> None:
    """`BUDGET FIRST FILE`: four threads decode `FILE`, six times in all, within a budget of so many bytes.

    Print the bytes by which the peak grew after `FIRST`.
    """
    first, content = (Path(name).read_bytes() for name in sys.argv[2:])
    with_decoded(first, MAX_PIXELS, lambda image: None, MemoryBudget(10**9))
    before = _peak()
    memory = MemoryBudget(int(sys.argv[1]))
    with ThreadPoolExecutor(4) as pool:
        decoded = pool.map(lambda _: with_decoded(content, MAX_PIXELS, lambda image: image.width, memory), range(6))
        assert len(list(decoded)) == 6
    print(_peak() - before)


def _peak() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
