"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], seconds: float = 60.0, explain: Callable[[], str] = lambda: "") -> T:
    """Call `condition` until it returns something true, and return that.

    Fails after `seconds` with what `explain` returns.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"the condition did not become true within {seconds:g} s\n{explain()}"
        time.sleep(0.02)
    return value
