"""Drift is noticed, chance is not, and SQL says the same as scipy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from schema.scan import Precision
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.lazily import ImportedWhenUsed
from tests.support.ledger import SCAN, VERDICT, claimed, done, examination
from worker.lab.drift import (
    SCORE_EDGES,
    Drift,
    DriftStatus,
    Limits,
    category_name,
    differences,
    find_drift,
    week_before,
)
from worker.store import CategoryCount, DriftGroup, Store

stats = ImportedWhenUsed("scipy.stats")
BINS = len(SCORE_EDGES) + 1
MONDAY = week_before(datetime.now(UTC).date())
WEEK = timedelta(weeks=1)
PERIOD, REFERENCE = (MONDAY, MONDAY + WEEK), (MONDAY - 4 * WEEK, MONDAY)

Random = np.random.Generator


def shares(random: Random, *, shift: float = 0.0, synthetic: float = 0.05, certainty: float = 4.0) -> NDArray[Any]:
    """The shares of the bins of scores of a source: most images are authentic, some are not."""
    authentic = random.normal(-certainty + shift, 2.0, 200_000)
    other = random.normal(certainty, 2.0, int(synthetic * 200_000))
    scores = 1 / (1 + np.exp(-np.concatenate([authentic, other])))
    return np.bincount(np.searchsorted(SCORE_EDGES, scores, side="right"), minlength=BINS) / len(scores)


def group(source: str = "avatars", measure: str = "score", **changes: Any) -> DriftGroup:
    policy = {} if measure == "score" else {"policy": "default", "policy_version": "1a2b3c"}
    values = {"policy": None, "policy_version": None, "aggregate": "mean" if measure == "score" else None, **policy}
    return DriftGroup(source, measure, "a" * 64, "float32", "coverage-224", **{**values, **changes})


def counts(of: DriftGroup, seen: Sequence[int], before: Sequence[int]) -> list[CategoryCount]:
    return [CategoryCount(of, str(n), int(s), int(b)) for n, (s, b) in enumerate(zip(seen, before, strict=True))]


@pytest.mark.parametrize(("checks", "reference"), [(300, 1200), (2000, 8000), (20_000, 300)])
@pytest.mark.parametrize("certainty", [2.0, 4.0, 8.0])
def test_without_a_change_the_test_is_significant_as_often_as_it_says(
    checks: int, reference: int, certainty: float
) -> None:
    random = np.random.default_rng(1)
    of = shares(random, certainty=certainty)
    found = differences(random.multinomial(checks, of, 4000), random.multinomial(reference, of, 4000))
    for level in (0.05, 0.01):
        alarms = int((found.p_value < level).sum())
        # Rare categories make the distribution of the statistic an approximation: a fifth of the level is allowed.
        assert stats.binomtest(alarms, 4000, 1.2 * level, alternative="greater").pvalue > 0.001, alarms
        assert alarms > 4000 * level / 2


def test_without_a_change_few_sources_are_reported_however_many_there_are() -> None:
    random = np.random.default_rng(2)
    of = shares(random)
    limits = Limits(false_discovery_rate=0.05, minimum_psi=0.0)
    with_alarm = 0
    for _ in range(150):
        seen, before = random.multinomial(1000, of, 30), random.multinomial(4000, of, 30)
        rows = [count for n in range(30) for count in counts(group(f"source {n:02}"), seen[n], before[n])]
        with_alarm += any(drift.status is DriftStatus.DRIFTED for drift in find_drift(rows, limits))
    assert stats.binomtest(with_alarm, 150, 0.06, alternative="greater").pvalue > 0.001, with_alarm


@pytest.mark.parametrize(
    ("change", "checks", "at_least"),
    [
        pytest.param({"synthetic": 0.10}, 2000, 48, id="a new generator makes five more images of a hundred"),
        pytest.param({"synthetic": 0.15}, 2000, 59, id="ten more of a hundred"),
        pytest.param({"shift": 0.7}, 2000, 59, id="a new pipeline encodes every image anew"),
        pytest.param({"shift": 1.5}, 400, 59, id="a worse one, seen on few images"),
    ],
)
def test_a_change_is_noticed_among_many_sources_without_one(
    change: dict[str, float], checks: int, at_least: int
) -> None:
    random = np.random.default_rng(3)
    usual, changed = shares(random), shares(random, **change)
    noticed = false = 0
    for _ in range(60):
        before = random.multinomial(4 * checks, usual, 20)
        seen = random.multinomial(checks, usual, 20)
        seen[7] = random.multinomial(checks, changed)
        rows = [count for n in range(20) for count in counts(group(f"source {n:02}"), seen[n], before[n])]
        drifted = [drift.group.source for drift in find_drift(rows) if drift.status is DriftStatus.DRIFTED]
        noticed += "source 07" in drifted
        false += len(set(drifted) - {"source 07"})
    assert noticed >= at_least
    assert false <= 6  # of 1,140 comparisons; one or two are expected


def test_a_generator_that_appears_is_the_category_that_has_risen() -> None:
    of = group(measure="generator")
    rows = [CategoryCount(of, "", 900, 3990), CategoryCount(of, "unknown_generator", 100, 10)]
    [drift] = find_drift(rows)
    assert (drift.status, drift.risen) == (DriftStatus.DRIFTED, "unknown_generator")
    assert (drift.risen_share, drift.risen_reference_share) == (0.1, 0.0025)


def test_the_statistics_are_those_of_their_definitions() -> None:
    seen, before = np.array([40, 30, 20, 110]), np.array([100, 200, 50, 450])
    found = differences(seen[None], before[None])
    expected = stats.chi2_contingency([seen, before], correction=False)
    assert (found.chi_squared[0], found.p_value[0]) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.degrees[0] == expected.dof
    p, q = (seen + 0.5) / 202, (before + 0.5) / 802
    assert found.psi[0] == pytest.approx(((p - q) * np.log(p / q)).sum())


def test_categories_that_are_rare_are_tested_together() -> None:
    seen, before = np.array([100, 100, 1, 2, 0]), np.array([400, 400, 4, 2, 0])
    found = differences(seen[None], before[None])
    together = stats.chi2_contingency([[100, 100, 3], [400, 400, 6]], correction=False)
    assert (found.chi_squared[0], found.degrees[0]) == (pytest.approx(together.statistic), 2)
    assert differences([[500, 0]], [[900, 0]]).p_value[0] == 1.0


def test_nothing_is_compared_across_detectors_or_policy_versions_and_that_is_said() -> None:
    usual, other = [300, 300], [300, 0]
    for change in (
        {"weights_sha256": "f" * 64},
        {"precision": "float16"},
        {"tiling": "reference-224"},
        {"aggregate": "max"},
    ):
        rows = counts(group(), [0, 0], usual) + counts(replace(group(), **change), other, [0, 0])
        [drift] = find_drift(rows)
        assert (drift.status, drift.p_value, drift.reference_checks) == (DriftStatus.INCOMPARABLE, None, 0)
    of = group(measure="decision")
    rows = counts(of, [0, 0], usual) + counts(replace(of, policy_version="ffffff"), other, [0, 0])
    assert [drift.status for drift in find_drift(rows)] == [DriftStatus.INCOMPARABLE]
    rows = counts(group("avatars"), [0, 0], usual) + counts(group("chat"), other, [0, 0])
    assert [drift.status for drift in find_drift(rows)] == [DriftStatus.NEW_SOURCE]


def test_too_few_checks_are_not_tested() -> None:
    assert find_drift(counts(group(), [199, 0], [0, 900]))[0].status is DriftStatus.TOO_FEW
    assert find_drift(counts(group(), [900, 0], [0, 199]))[0].status is DriftStatus.TOO_FEW
    assert find_drift(counts(group(), [200, 0], [0, 200]))[0].status is DriftStatus.DRIFTED


def test_a_difference_that_is_no_chance_but_small_is_not_reported() -> None:
    rows = counts(group(), [520_000, 480_000], [2_000_000, 2_000_000])
    [drift] = find_drift(rows)
    assert drift.adjusted_p_value is not None
    assert drift.adjusted_p_value < 1e-9
    assert (drift.status, round(drift.psi or 0, 4)) == (DriftStatus.STABLE, 0.0016)


def test_bins_are_those_of_the_database_and_have_names(run: Sql) -> None:
    scores = [0.0, *SCORE_EDGES, 1.0, *(np.array(SCORE_EDGES) - 1e-9).tolist(), 0.07]
    bins = run("SELECT susy.score_bin(s) FROM unnest(%s::float8[]) WITH ORDINALITY AS t (s, n) ORDER BY n", scores)
    assert [number for (number,) in bins] == np.searchsorted(SCORE_EDGES, scores, side="right").tolist()
    assert run("SELECT susy.score_bin(NULL)") == [(-1,)]
    assert (category_name("score", "6"), category_name("score", "21")) == ("0.05–0.1", "0.999–1")
    assert category_name("generator", "") == "without a generator"


def test_the_databases_chi_squared_distribution_is_that_of_scipy(run: Sql) -> None:
    pairs = [(x, n) for n in (1, 2, 3, 8, 21, 100) for x in (1e-11, 0.01, 1.0, 7.0, 40.0, 500.0, 1300.0)]
    found = run(
        "SELECT susy.chi_squared_tail(x, n)"
        " FROM unnest(%s::float8[], %s::int[]) WITH ORDINALITY AS t (x, n, i) ORDER BY i",
        [x for x, _ in pairs],
        [n for _, n in pairs],
    )
    assert [p for (p,) in found] == pytest.approx([stats.chi2.sf(x, n) for x, n in pairs], rel=2e-7)


# --- From the ledger


def count_day(run: Sql, day: date, of: Sequence[int], **changes: Any) -> None:
    """Put a histogram of a day's scores into the sums, as if so many checks had been recorded and folded."""
    values = {
        "source": "avatars", "policy_name": "default", "policy_version": "1a2b3c", "weights_sha256": "a" * 64,
        "precision": "float32", "tiling": "coverage-224", **changes,
    }  # fmt: skip
    rows = [
        (
            day, values["source"], values["policy_name"], False, "synthetic" if number > 14 else "authentic",
            "alpha" if number > 14 else "", values["policy_version"], values["weights_sha256"], values["precision"],
            values["tiling"], number, int(checks), 0,
        )
        for number, checks in enumerate(of) if checks
    ]  # fmt: skip
    for row in rows:
        run(f"INSERT INTO susy.decision_counts VALUES ({', '.join(['%s'] * 8)}, %s, %s, %s, %s, %s)", *_placed(row))


def _placed(row: tuple[Any, ...]) -> list[Any]:
    """In the order of the table's columns: checks and needs_review come before those that were added later."""
    return [*row[:6], *row[11:], *row[6:11]]


@pytest.fixture
def past(run: Sql) -> None:
    """Five weeks of four sources: one as ever, one with a new generator, a small one, and one with new weights."""
    random = np.random.default_rng(5)
    usual, changed = shares(random), shares(random, synthetic=0.2)
    run("INSERT INTO susy.policies (name, version, document) VALUES ('default', '1a2b3c', '{\"aggregate\": \"mean\"}')")
    for weeks in range(5):
        day = MONDAY - weeks * WEEK + timedelta(days=2)
        count_day(run, day, random.multinomial(2000, usual), source="usual")
        count_day(run, day, random.multinomial(2000, usual if weeks else changed), source="changed")
        count_day(run, day, random.multinomial(30, usual), source="small")
        count_day(
            run, day, random.multinomial(2000, usual), source="updated", weights_sha256=("a" if weeks else "f") * 64
        )


def agreed(store: Store, database_url: str) -> list[Drift]:
    """What the command finds in the last week, once the view has said the same of everything."""
    with psycopg.connect(database_url, row_factory=psycopg.rows.dict_row) as connection:
        connection.execute("SET ROLE susy_dashboard")
        rows = connection.execute("SELECT * FROM dashboard.drift WHERE week = %s", [MONDAY]).fetchall()
    found = {_key(drift): drift for drift in find_drift(store.drift.categories(PERIOD, REFERENCE))}
    assert {_key_of(row) for row in rows} == found.keys()
    for row in rows:
        drift = found[_key_of(row)]
        assert (row["status"], row["checks"]) == (str(drift.status), drift.checks)
        assert row["reference_checks"] == drift.reference_checks
        assert row["degrees_of_freedom"] == drift.degrees
        assert row["risen"] == drift.risen
        names = ("psi", "chi_squared", "p_value", "adjusted_p_value", "risen_share")
        for name, expected in [
            *((name, getattr(drift, name)) for name in names),
            ("risen_reference_share", drift.risen_reference_share),
        ]:
            assert row[name] == (None if expected is None else pytest.approx(expected, rel=1e-6, abs=1e-300)), name
    return list(found.values())


def _key_of(row: dict[str, Any]) -> tuple[str, str, str, str | None]:
    return row["source"], row["measure"], row["model_sha256"], row["policy_version"]


@pytest.mark.usefixtures("past")
def test_the_view_says_the_same_as_scipy(store: Store, database_url: str) -> None:
    found = agreed(store, database_url)
    assert len(found) == 12
    statuses = {(drift.group.source, drift.group.measure): drift.status for drift in found}
    assert {statuses["changed", measure] for measure in ("score", "decision", "generator")} == {DriftStatus.DRIFTED}
    assert {statuses["usual", measure] for measure in ("score", "decision", "generator")} == {DriftStatus.STABLE}
    assert statuses["small", "score"] is DriftStatus.TOO_FEW
    assert statuses["updated", "score"] is DriftStatus.INCOMPARABLE


def test_sources_that_come_and_go_and_have_little_are_said_to_be_so_by_both(
    store: Store, database_url: str, run: Sql
) -> None:
    days = [MONDAY - weeks * WEEK + timedelta(days=3) for weeks in range(6)]
    some = [100, 200, *[0] * 18, 50, 50]
    count_day(run, days[0], some, source="new")
    count_day(run, days[1], some, source="gone")
    for day in (days[0], days[4]):
        count_day(run, day, some, source="back")
    for day in (days[0], days[5]):
        count_day(run, day, some, source="away for longer than the reference")
    for day in days[:2]:
        count_day(run, day, [400], source="one category")
        count_day(run, day, [1], source="single")
        unscored = [(day, "unscored", "default", False, "inconclusive", "", "1", "a" * 64, "float32", "c", -1, 300, 0)]
        for row in unscored:
            run(f"INSERT INTO susy.decision_counts VALUES ({', '.join(['%s'] * 13)})", *_placed(row))
    count_day(run, days[1], some, source="replaced")
    count_day(run, days[0], some, source="replaced")
    run(
        "INSERT INTO susy.decision_changes (day, source, policy_name, is_demo, decision, generator, policy_version,"
        " weights_sha256, precision, tiling, score_bin, checks, needs_review) SELECT day, source, policy_name, is_demo,"
        " decision, generator, policy_version, weights_sha256, precision, tiling, score_bin, -checks, 0"
        " FROM susy.decision_counts WHERE source = 'replaced' AND day = %s",
        days[0],
    )
    found = {(drift.group.source, drift.group.measure): drift for drift in agreed(store, database_url)}
    statuses = {source: str(found[source, "score"].status) for source, measure in found if measure == "score"}
    assert statuses == {
        "new": "new_source", "back": "stable", "away for longer than the reference": "new_source",
        "one category": "stable", "single": "too_few",
    }  # fmt: skip
    assert found["unscored", "decision"].status is DriftStatus.STABLE
    alone = found["one category", "score"]
    assert (alone.psi, alone.degrees, alone.p_value) == (0.0, 0, 1.0)


def _key(drift: Drift) -> tuple[str, str, str, str | None]:
    return drift.group.source, drift.group.measure, drift.group.weights_sha256, drift.group.policy_version


def test_a_new_policy_version_is_not_compared_but_its_scores_are(store: Store, run: Sql) -> None:
    of = shares(np.random.default_rng(6))
    for version in ("1a2b3c", "ffffff"):
        run("INSERT INTO susy.policies VALUES ('default', %s, '{\"aggregate\": \"mean\"}')", version)
    count_day(run, MONDAY - WEEK, np.round(of * 2000), policy_version="1a2b3c")
    count_day(run, MONDAY, np.round(of * 1000), policy_version="ffffff")
    found = {drift.group.measure: drift.status for drift in find_drift(store.drift.categories(PERIOD, REFERENCE))}
    assert found == {
        "score": DriftStatus.STABLE,
        "decision": DriftStatus.INCOMPARABLE,
        "generator": DriftStatus.INCOMPARABLE,
    }


def test_what_is_recorded_is_counted_folded_or_not_by_what_measured_it(store: Store) -> None:
    done(store)
    done(store, verdict=replace(VERDICT, score=None, generator=None, generator_confidence=None), content="c" * 64)
    half = replace(SCAN, model=replace(SCAN.model, precision=Precision.FLOAT16))
    store.record(claimed(store), examination(half))
    today = datetime.now(UTC).date()
    days = (today - timedelta(days=1), today + timedelta(days=2))
    counted = store.drift.categories(days, REFERENCE)
    store.fold_decisions(limit=10)
    assert store.drift.categories(days, REFERENCE) == counted
    found = {
        (count.group.measure, count.group.precision, count.category): count.seen for count in counted if count.seen
    }
    assert found == {
        ("score", "float32", "9"): 1,
        ("score", "float16", "9"): 1,
        ("decision", "float32", "synthetic"): 2,
        ("decision", "float16", "synthetic"): 1,
        ("generator", "float32", "alpha"): 1,
        ("generator", "float32", ""): 1,
        ("generator", "float16", "alpha"): 1,
    }


@pytest.mark.usefixtures("past")
def test_the_command_names_what_has_drifted(susy: Susy, database_url: str) -> None:
    given = {"SUSY_DATABASE_URL": database_url}
    shown = susy("drift", **given)
    assert shown.code == 0
    first, *lines = shown.stdout.splitlines()
    assert first == f"{MONDAY} to {MONDAY + timedelta(days=6)} compared with {MONDAY - 4 * WEEK} to " + (
        f"{MONDAY - timedelta(days=1)}: 3 of 12 drifted"
    )
    assert sum("changed" in line and "drifted" in line for line in lines) == 3
    assert not any(line.startswith("usual") for line in lines)
    assert "Incomparable" in shown.stderr
    everything = susy("drift", "--all", **given).stdout.splitlines()
    assert sum(line.startswith("usual ") for line in everything) == 3 + 1  # and its arrivals
    assert susy("drift", "--fail", **given).code == 1
    [one] = [
        document
        for document in susy("drift", "--json", "--source", "changed", **given).documents
        if document["measure"] == "generator"
    ]
    assert (one["status"], one["risen"], one["policy_version"]) == ("drifted", "alpha", "1a2b3c")
    assert one["period"] == [MONDAY.isoformat(), (MONDAY + timedelta(days=6)).isoformat()]
    weeks = f"{MONDAY - 2 * WEEK}..{MONDAY - WEEK - timedelta(days=1)}"
    assert susy("drift", "--fail", "--period", weeks, **given).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--period", "2026-03-02"], "FIRST..LAST"),
        (["--period", "2026-03-08..2026-03-02"], "ends before it begins"),
        (["--period", "2026-03-02..2026-03-08", "--reference", "2026-03-08..2026-03-09"], "overlaps"),
        (["--reference", "yesterday..today"], "FIRST..LAST"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused(susy: Susy, arguments: list[str], said: str) -> None:
    refused = susy("drift", *arguments)
    assert refused.code == 2
    assert said in refused.stderr
