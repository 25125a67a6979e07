"""Prints the CPU seconds of each test file, its processes included: `pytest --usage N` for the N costliest."""

from __future__ import annotations

import resource
from collections import defaultdict
from collections.abc import Iterator

import pytest

_PROPERTY = "cpu_seconds"
_began = pytest.StashKey[float]()
_elsewhere = 0.0


def add(seconds: float) -> None:
    """Count the CPU time of a process that is not a child of this one."""
    global _elsewhere  # noqa: PLW0603
    _elsewhere += seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--usage", type=int, default=0, metavar="N", help="print the N files that cost most CPU time")


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


class _Collector:
    """Receives the reports of all pytest-xdist processes."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._files: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self._files[report.nodeid.partition("::")[0]] += sum(
                float(str(value)) for name, value in report.user_properties if name == _PROPERTY
            )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        count = self._config.getoption("--usage")
        if not count or not self._files:
            return
        terminalreporter.section(f"CPU time: {sum(self._files.values()):.0f} s")
        for file, seconds in sorted(self._files.items(), key=lambda item: -item[1])[:count]:
            terminalreporter.write_line(f"{seconds:7.1f} s  {file}")


def _cpu_seconds() -> float:
    """User and system time of this process, of the children it has waited for, and of what was added."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return _elsewhere + sum(usage.ru_utime + usage.ru_stime for usage in usages)
