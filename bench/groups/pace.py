"""Rounds of a measurement within a time limit, with progress on the standard error."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

LEAST = 3
"""Rounds that are measured even where they exceed the limit: fewer have no median."""
HANGS = 600.0
"""Seconds beyond its limit after which a group is ended: its last round may be slow on a busy machine."""


@dataclass
class Pace:
    """How long one group may measure."""

    group: str
    quick: bool
    """Whether fewer rounds suffice."""
    seconds: float
    """After which no further round begins."""
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.seconds

    def rounds(self, quick: int, full: int) -> Iterator[int]:
        """The numbers of up to `quick` or `full` rounds; fewer when another one would exceed the limit."""
        most = quick if self.quick else full
        longest = 0.0
        for number in range(most):
            began = time.monotonic()
            if number >= LEAST and began + longest > self._until:
                self.say(f"{self.seconds:.0f} s are over after {number} of {most} rounds")
                return
            yield number
            longest = max(longest, time.monotonic() - began)
            if longest > 2:
                self.say(f"round {number + 1} of {most} took {time.monotonic() - began:.0f} s")

    def say(self, what: str) -> None:
        """One line of progress."""
        print(f"{self.group}: {what}", file=sys.stderr, flush=True)

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Raise `TimeoutError` in the block when it takes `HANGS` seconds longer than the limit."""
        seconds = max(0.0, self.seconds) + HANGS

        def stop(_signal: int, _frame: FrameType | None) -> None:
            raise TimeoutError(f"{self.group} did not end within {seconds:.0f} s")

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
