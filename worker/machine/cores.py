"""How many CPU cores a process may use: its affinity, and the quota of its control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from worker.machine import cgroups

_ROOT = Path("/")


def usable_cores(root: Path = _ROOT) -> int:
    """Cores that this process may keep busy, at least 1; part of a core counts as one.

    `root` is where `/proc` and `/sys` are found.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """The quotas, in cores, of the control groups that contain this process."""
    for folder, version in cgroups.folders("cpu", root):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = _quota_v1(folder) if version == 1 else (folder / "cpu.max").read_text().split()
            if quota not in ("max", "-1"):
                yield int(quota) / int(period)


def _quota_v1(folder: Path) -> tuple[str, str]:
    return (folder / "cpu.cfs_quota_us").read_text().strip(), (folder / "cpu.cfs_period_us").read_text().strip()
