"""How many cores a process may use: real affinity, and control groups as files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.commands import run
from worker.machine.cores import usable_cores

AFFINITY = len(os.sched_getaffinity(0))


def grouped(root: Path, membership: str, **files: str) -> Path:
    """A root folder whose process is in the groups of `membership`; `files` are below `/sys/fs/cgroup`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == AFFINITY


def test_the_affinity_of_this_process_is_respected() -> None:
    code = "from worker.machine.cores import usable_cores; print(usable_cores())"
    one = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]
    answer = run(*one, sys.executable, "-c", code)
    assert answer.stdout.strip() == "1", answer.stderr


@pytest.mark.skipif(AFFINITY < 2, reason="needs two cores, of which a quota takes one")
@pytest.mark.parametrize(
    ("membership", "files"),
    [
        ("0::/a/b\n", {"a__b__cpu_dot_max": "100000 100000\n"}),
        ("0::/a/b\n", {"a__b__cpu_dot_max": "max 100000\n", "a__cpu_dot_max": "50000 100000\n"}),
        ("0::/of/the/host\n", {"cpu_dot_max": "70000 100000\n"}),
        (
            "4:cpu,cpuacct:/a\n1:name=systemd:/\n",
            {"cpu__a__cpu_dot_cfs_quota_us": "100000", "cpu__a__cpu_dot_cfs_period_us": "100000"},
        ),
    ],
    ids=["version 2", "the group above", "inside a container", "version 1"],
)
def test_a_quota_of_one_core_is_one_core(membership: str, files: dict[str, str], tmp_path: Path) -> None:
    assert usable_cores(grouped(tmp_path, membership, **files)) == 1


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        ("0::/\n", {"cpu_dot_max": "max 100000\n"}),
        ("0::/\n", {"cpu_dot_max": "6400000 100000\n"}),
        ("4:cpu:/\n", {"cpu__cpu_dot_cfs_quota_us": "-1", "cpu__cpu_dot_cfs_period_us": "100000"}),
        ("4:cpu:/\n", {"cpu__cpu_dot_cfs_quota_us": "100000", "cpu__cpu_dot_cfs_period_us": "0"}),
        ("0::/\n", {"cpu_dot_max": "a quota that cannot be read"}),
        ("not a line of the kernel's\n", {}),
    ],
    ids=["no quota", "a quota of 64 cores", "no quota, version 1", "no period", "not a quota", "not a group"],
)
def test_without_a_quota_below_it_the_affinity_counts(membership: str, files: dict[str, str], tmp_path: Path) -> None:
    assert usable_cores(grouped(tmp_path, membership, **files)) == AFFINITY
