"""Prints the CPU seconds of the tests, their processes and Postgres included, and of what is beside the tests.

`pytest --usage N` prints the N files that cost most; `--usage-by` counts by folder or by test instead.
"""

from __future__ import annotations

import os
import resource
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

_PROPERTY = "cpu_seconds"
_OUTPUT = "cpu_seconds_of_process"
_TICKS = os.sysconf("SC_CLK_TCK")
_began = pytest.StashKey[float]()
_elsewhere = 0.0
_servers: set[int] = set()


def add(seconds: float) -> None:
    """Count the CPU time of a process that is not a child of this one."""
    global _elsewhere  # noqa: PLW0603
    _elsewhere += seconds


def add_server(pid: int) -> None:
    """Count from now on what a server that is not a child of this process, and the processes that it has waited for,
    take."""
    _servers.add(pid)


def close_server(pid: int) -> None:
    """Count the server and all its processes for the last time: it is about to be stopped."""
    _servers.discard(pid)
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return
    add(sum(map(_cpu_seconds_of, [pid, *map(int, children)])))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--usage", type=int, default=0, metavar="N", help="print the N files that cost most CPU time")
    parser.addoption("--usage-by", choices=("folder", "file", "test"), default="file", help="what --usage counts by")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Collector(config), "usage-collector")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.stash[_began] = _cpu_seconds()
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.when == "teardown":
        item.user_properties.append((_PROPERTY, _cpu_seconds() - item.stash[_began]))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_OUTPUT] = _cpu_seconds()


class _Collector:
    """Receives the reports of all pytest-xdist processes."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._by = config.getoption("--usage-by")
        self._tests: dict[str, float] = defaultdict(float)
        self._processes = 0.0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self._tests[self._counted(report.nodeid)] += sum(
                float(str(value)) for name, value in report.user_properties if name == _PROPERTY
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._processes += getattr(node, "workeroutput", {}).get(_OUTPUT, 0.0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        count = self._config.getoption("--usage")
        if not count or not self._tests:
            return
        tests = sum(self._tests.values())
        total = self._processes + _cpu_seconds(children=not self._processes)
        beside = total - tests
        terminalreporter.section(f"CPU time: {tests:.0f} s of tests, {beside:.0f} s beside them")
        for name, seconds in sorted(self._tests.items(), key=lambda item: -item[1])[:count]:
            terminalreporter.write_line(f"{seconds:7.1f} s  {name}")

    def _counted(self, test: str) -> str:
        file = test.partition("::")[0]
        return {"test": test, "file": file, "folder": str(PurePosixPath(file).parent)}[self._by]


def _cpu_seconds(*, children: bool = True) -> float:
    """User and system time of this process, of the children it has waited for, of servers, and of what was added."""
    usages = [resource.getrusage(resource.RUSAGE_SELF)]
    if children:
        usages.append(resource.getrusage(resource.RUSAGE_CHILDREN))
    return _elsewhere + sum(usage.ru_utime + usage.ru_stime for usage in usages) + sum(map(_cpu_seconds_of, _servers))


def _cpu_seconds_of(pid: int) -> float:
    """User and system time of a process and of the children it has waited for; 0 when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS
