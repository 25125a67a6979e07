"""A source that stops sending is noticed, weekends and pauses are not, and the rate of false alarms is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.lazily import ImportedWhenUsed
from tests.support.ledger import submission
from worker.lab.drift import DriftStatus, arrivals_status
from worker.store import Arrivals, Store

stats = ImportedWhenUsed("scipy.stats")
TODAY = datetime.now(UTC).date()
LENGTH = 141
"""Days before today that can matter: eight weeks, and the twelve weeks before them."""
WEEKDAYS = (TODAY.weekday() - np.arange(LENGTH, 0, -1)) % 7
"""Of the days before today, the earliest first; Monday is 0."""

Random = np.random.Generator
Days = NDArray[np.int64]
"""The checks of each of `LENGTH` days, the earliest first; the last is yesterday."""


def fill(connection: psycopg.Connection, sources: dict[str, Days]) -> None:
    """Put days into the sums, as if so many checks had been decided on each."""
    rows = [
        (TODAY - timedelta(days=LENGTH - int(number)), source, int(checks[number]))
        for source, checks in sources.items()
        for number in np.flatnonzero(checks)
    ]
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY susy.decision_counts (day, source, checks, policy_name, is_demo, decision, generator, needs_review,"
            " policy_version, weights_sha256, precision, tiling, score_bin) FROM STDIN"
        ) as copy,
    ):
        for day, source, checks_of_day in rows:
            copy.write_row(
                (day, source, checks_of_day, "default", False, "authentic", "", 0, "1a2b3c", "a", "float32", "c", 3)
            )


@pytest.fixture
def found(store: Store, database_url: str) -> Callable[..., dict[str, Arrivals]]:
    def found(**sources: Days) -> dict[str, Arrivals]:
        with psycopg.connect(database_url) as connection:
            fill(connection, sources)
        return {arrivals.source: arrivals for arrivals in store.drift.arrivals()}

    return found


def steady(mean: float = 100, *, silent: int = 0, days: int = LENGTH) -> Days:
    checks = np.random.default_rng(1).poisson(mean, LENGTH)
    checks[: LENGTH - days] = 0
    checks[LENGTH - silent :] = 0
    return checks


def working_days(*, silent: int = 0) -> Days:
    return np.where(WEEKDAYS < 5, steady(silent=silent), 0)


def every_other_day(*, silent: int = 0) -> Days:
    """At random, as many at once as it likes."""
    checks = np.random.default_rng(2).integers(0, 2, LENGTH) * 1000
    checks[LENGTH - silent - 1] = 1000
    checks[LENGTH - silent :] = 0
    return checks


def expected(days: Days, weekdays: NDArray[Any]) -> tuple[int, int, int, float]:
    """Silent days, the longest silence before, usual days and the p-value, by the definition."""
    active = np.flatnonzero(days)
    last = int(active[-1])
    first = int(active[active >= last - 84][0])
    history = np.arange(first, last)
    usual_weekdays = set(weekdays[history[days[history] > 0]].tolist())
    usual = [number for number in history if weekdays[number] in usual_weekdays]
    silent = sum(weekdays[number] in usual_weekdays for number in range(last + 1, LENGTH))
    places = [-1, *(place for place, number in enumerate(usual) if days[number]), len(usual)]
    longest = max(after - before - 1 for before, after in pairwise(places))
    without = sum(days[number] == 0 for number in usual)
    p_value = float(stats.betabinom.pmf(silent, silent, without + 0.5, len(usual) - without + 0.5)) if silent else 1.0
    return silent, longest, len(usual), p_value


def test_a_source_that_stopped_is_silent_with_the_time_of_its_last_check(
    store: Store, run: Sql, found: Callable[..., dict[str, Arrivals]]
) -> None:
    store.submit(submission(source="stopped"))
    last = datetime.now(UTC).replace(microsecond=0) - timedelta(days=4)
    run("UPDATE susy.checks SET created_at = %s", last)
    usual = {f"source {number}": steady() for number in range(9)}
    sources = found(stopped=steady(silent=4), pruned=steady(silent=5), **usual)
    assert {source for source, one in sources.items() if one.status == "silent"} == {"stopped", "pruned"}
    assert sources["stopped"].last_check_at == last
    assert sources["pruned"].last_check_at is None
    assert (sources["stopped"].silent_days, sources["stopped"].longest_silent_days) == (3, 0)
    assert sources["stopped"].checks_per_day == pytest.approx(100, abs=5)
    assert arrivals_status(sources["stopped"], 0.01) is DriftStatus.SILENT
    assert arrivals_status(sources["stopped"], 1e-9) is DriftStatus.STABLE


def test_checks_that_nothing_has_decided_about_have_arrived(
    store: Store, found: Callable[..., dict[str, Arrivals]]
) -> None:
    store.submit(submission(source="waits"))
    [waits] = found(waits=steady(silent=10)).values()
    assert (waits.status, waits.silent_days) == ("stable", 0)


def test_one_day_is_enough_of_a_source_alone_and_two_are_among_thirty(
    found: Callable[..., dict[str, Arrivals]],
) -> None:
    assert found(stopped=steady(silent=1))["stopped"].status == "silent"
    sources = found(**{f"source {n}": steady() for n in range(28)}, second=steady(silent=2))
    assert {source: one.status for source, one in sources.items() if one.silent_days} == {
        "stopped": "stable",
        "second": "silent",
    }


def test_days_on_which_a_source_never_sends_and_pauses_it_has_made_before_are_usual(
    found: Callable[..., dict[str, Arrivals]],
) -> None:
    paused = steady(silent=3)
    paused[-30:-26] = 0
    short = steady(days=10, silent=3)
    long_ago = steady(silent=57)
    working = working_days()
    sources = found(
        working=working, working_stopped=working_days(silent=9), paused=paused, short=short, long_ago=long_ago,
        every_other_day=every_other_day(silent=4), every_other_day_stopped=every_other_day(silent=12),
    )  # fmt: skip
    assert {source: one.status for source, one in sources.items()} == {
        "working": "stable", "working_stopped": "silent", "paused": "stable", "short": "too_few",
        "every_other_day": "stable", "every_other_day_stopped": "silent",
    }  # fmt: skip
    assert sources["working"].usual_days == 60
    assert sources["paused"].longest_silent_days == 4


Pattern = Callable[[Random, NDArray[Any]], NDArray[Any]]
"""Draws the days of a source that goes on as ever, from their weekdays."""

PATTERNS: dict[str, Pattern] = {
    "almost every day": lambda random, _: random.random(LENGTH) < 0.98,
    "nine days of ten": lambda random, _: random.random(LENGTH) < 0.9,
    "every other day": lambda random, _: random.random(LENGTH) < 0.5,
    "few checks": lambda random, _: random.poisson(0.3, LENGTH),
    "bursts": lambda random, _: random.negative_binomial(0.5, 0.5 / 20.5, LENGTH),
    "working days": lambda random, weekdays: (weekdays < 5) & (random.random(LENGTH) < 0.97),
    "seldom at weekends": lambda random, weekdays: (weekdays < 5) | (random.random(LENGTH) < 0.3),
}


def looked_at(pattern: str, times: int, seed: int) -> Iterator[tuple[bool, float | None]]:
    """Whether the silence of a source is the longest, and its p-value, on days on which nothing has changed."""
    random = np.random.default_rng(seed)
    for number in range(times):
        weekdays = (np.arange(LENGTH) + number) % 7
        silent, longest, usual, p_value = expected(PATTERNS[pattern](random, weekdays), weekdays)
        yield silent > longest, p_value if usual >= 14 else None


@pytest.mark.parametrize("pattern", PATTERNS)
def test_without_a_change_no_more_sources_are_below_a_level_than_it_says(pattern: str) -> None:
    looks = list(looked_at(pattern, 1500, seed=3))
    for level in (0.05, 0.01):
        alarms = sum(is_longest and p_value is not None and p_value < level for is_longest, p_value in looks)
        assert stats.binomtest(alarms, len(looks), level, alternative="greater").pvalue > 0.001, alarms


def test_without_a_change_few_sources_are_reported_however_many_there_are() -> None:
    by_pattern = [list(looked_at(pattern, 600, seed=5)) for pattern in PATTERNS]
    with_alarm = 0
    for place in range(0, 600, 5):
        at_once = [look for looks in by_pattern for look in looks[place : place + 5]]
        tested = [(is_longest, p_value) for is_longest, p_value in at_once if p_value is not None]
        adjusted = stats.false_discovery_control([p_value for _, p_value in tested], method="bh")
        with_alarm += any(p < 0.01 and is_longest for p, (is_longest, _) in zip(adjusted, tested, strict=True))
    assert stats.binomtest(with_alarm, 120, 0.01, alternative="greater").pvalue > 0.001, with_alarm


def test_the_view_says_what_its_definition_says(found: Callable[..., dict[str, Arrivals]]) -> None:
    random = np.random.default_rng(4)
    days = {
        f"{name}/{number}": np.asarray(pattern(random, WEEKDAYS), np.int64)
        for name, pattern in PATTERNS.items()
        for number in range(40)
    }
    sources = found(**days)
    assert len(sources) > 270
    assert {one.silent_days for one in sources.values()} > {0, 1, 2, 3}
    for source, one in sources.items():
        silent, longest, usual, p_value = expected(days[source], WEEKDAYS)
        assert (one.silent_days, one.longest_silent_days, one.usual_days) == (silent, longest, usual)
        assert one.p_value == (pytest.approx(p_value, rel=1e-9) if usual >= 14 else None)
    tested = [one for one in sources.values() if one.p_value is not None]
    adjusted = stats.false_discovery_control([one.p_value for one in tested], method="bh")
    assert [one.adjusted_p_value for one in tested] == pytest.approx(adjusted.tolist(), rel=1e-9)


def test_the_command_and_the_view_of_drift_name_what_is_silent(
    susy: Susy, run: Sql, database_url: str, found: Callable[..., dict[str, Arrivals]]
) -> None:
    found(stopped=steady(silent=5), usual=steady(), working=working_days())
    given: dict[str, Any] = {"SUSY_DATABASE_URL": database_url}
    shown = susy("drift", **given)
    assert "1 of 3 sources silent" in shown.stdout
    assert [line.split()[:2] for line in shown.stdout.splitlines() if line.startswith(("stopped ", "usual "))][-1:] == [
        ["stopped", "silent"]
    ]
    assert susy("drift", "--fail", **given).code == 1
    assert susy("drift", "--fail", "--source", "usual", **given).code == 0
    documents = {
        document["source"]: document
        for document in susy("drift", "--json", **given).documents
        if document["measure"] == "arrivals"
    }
    assert {source: document["status"] for source, document in documents.items()} == {
        "stopped": "silent", "usual": "stable", "working": "stable",
    }  # fmt: skip
    assert (documents["stopped"]["silent_days"], documents["stopped"]["psi"]) == (5, None)
    week = TODAY - timedelta(days=TODAY.weekday())
    rows = run("SELECT week, source, status, checks FROM dashboard.drift WHERE measure = 'arrivals' ORDER BY source")
    assert [row[:3] for row in rows] == [
        (week, "stopped", "silent"), (week, "usual", "stable"), (week, "working", "stable"),
    ]  # fmt: skip
    assert rows[1][3] == int(steady()[LENGTH - TODAY.weekday() :].sum())
    past = (TODAY - timedelta(days=40), TODAY - timedelta(days=34))
    assert "silent" not in susy("drift", "--period", f"{past[0]}..{past[1]}", **given).stdout
