"""Benchmarks run by hand; a rename must not break them unnoticed."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import bench
from tests.support.commands import Processes


@pytest.mark.parametrize("name", [module.name for module in pkgutil.walk_packages(bench.__path__, "bench.")])
def test_a_benchmark_can_be_imported(name: str) -> None:
    importlib.import_module(name)


def test_damaged_inputs_of_every_kind_are_read_in_time_and_refused_or_right(bare_processes: Processes) -> None:
    """By hand, `python -m bench.mutations` tries thousands."""
    process = bare_processes.fork(("bench.mutations", "main"), "--count", "20")
    assert process.wait() == 0, process.output()
    assert process.output().count("inputs in") == 4
