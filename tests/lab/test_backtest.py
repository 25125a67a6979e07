"""What a policy would have decided: the figures are those of a count by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schema.scan import Scan
from schema.states import Decision
from schema.verdict import Verdict
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import claimed, examination
from tests.support.scans import scan_of
from worker.lab.backtest import Share, backtest
from worker.lab.decide_again import decide_scan
from worker.localization.heatmap import heatmap
from worker.localization.regions import find_regions
from worker.policy.decide import decide, may_have_region
from worker.policy.policy import Policy
from worker.store import Store

LENIENT = Policy(name="lenient", synthetic_at=0.95, authentic_below=0.9, minimum_contrast=0)
CONTRAST = (500, 500, 500, 500)


def scan(*authentic: float | None, content: int = 0) -> Scan:
    return replace(scan_of(authentic, contrast=CONTRAST[: len(authentic)]), content_sha256=f"{content:064x}")


def recorded(store: Store, examined: Scan, **changes: Any) -> Any:
    """A check that the built-in policy has decided."""
    verdict: Verdict = decide(examined, STRICT, ())
    claim = claimed(store, **changes)
    store.record(claim, examination(examined, verdict))
    return claim.check_id


STRICT = Policy(name="default", synthetic_at=0.5, authentic_below=0.1, minimum_contrast=0)


@pytest.fixture
def past(store: Store) -> list[Any]:
    """Four checks: synthetic (three tiles of four agree), synthetic by 0.6, inconclusive by 0.3, authentic."""
    return [
        recorded(store, scan(0.01, 0.02, 0.01, 0.02, content=1), source="avatars"),
        recorded(store, scan(0.4, 0.4, 0.4, 0.4, content=2), source="avatars"),
        recorded(store, scan(0.7, 0.7, 0.7, 0.7, content=3), source="posts"),
        recorded(store, scan(0.99, 0.99, 0.99, 0.99, content=4), source="posts"),
    ]


def test_flips_reviews_and_errors_are_counted(store: Store, past: list[Any]) -> None:
    for check_id, decision in zip(past, ("synthetic", "authentic", "authentic", "authentic"), strict=True):
        store.add_review(check_id, reviewer="ada", decision=Decision(decision))
    result = backtest(LENIENT, store.policies.decided_scans(batch=3))
    assert result.checks == 4
    assert {(flip.source, flip.before, flip.after): count for flip, count in result.flips.items()} == {
        ("avatars", Decision.SYNTHETIC, Decision.AUTHENTIC): 1,
        ("posts", Decision.INCONCLUSIVE, Decision.AUTHENTIC): 1,
    }
    assert (result.reviews_before, result.reviews_after) == (3, 1)
    assert (result.before.precision.count, result.before.precision.of) == (1, 2)
    assert (result.after.precision.count, result.after.precision.of) == (1, 1)
    assert (result.before.false_positive_rate.count, result.before.false_positive_rate.of) == (1, 3)
    assert (result.after.false_positive_rate.count, result.after.recall.value) == (0, 1.0)


def test_a_filter_selects_by_source_and_time(store: Store, past: list[Any]) -> None:
    assert backtest(LENIENT, store.policies.decided_scans(source="posts")).checks == 2
    assert backtest(LENIENT, store.policies.decided_scans(since=store.now())).checks == 0


def test_the_interval_is_the_exact_one() -> None:
    # Clopper and Pearson (1934): for 0 of 10 the upper bound is 1 − 0.025^(1/10).
    low, high = Share(0, 10).interval or (1.0, 0.0)
    assert low == 0
    assert high == pytest.approx(1 - 0.025**0.1)
    assert Share(0, 0).interval is None


def test_regions_are_looked_for_wherever_they_can_decide() -> None:
    policies = [STRICT, LENIENT, Policy(name="a", synthetic_at=1, authentic_below=1, region_at=0.7, minimum_contrast=0)]
    for authentic in [(0.01, 0.99, 0.99, 0.99), (0.5, None, 0.2, None), (0.99,) * 4, (None,) * 4, ()]:
        examined = scan(*authentic)
        for policy in policies:
            regions = find_regions(heatmap(examined), policy.region_at)
            again = decide_scan(examined, policy)
            assert again.decision is decide(examined, policy, regions).decision
            assert may_have_region(examined, policy) or again.regions == ()


def test_the_command_writes_nothing(
    susy: Susy, store: Store, past: list[Any], tmp_path: Path, run: Sql, database_url: str
) -> None:
    (tmp_path / "lenient.toml").write_text(
        'name = "lenient"\nsynthetic_at = 0.95\nauthentic_below = 0.9\nminimum_contrast = 0\n'
    )
    written = "SELECT (SELECT count(*) FROM susy.verdicts), (SELECT count(*) FROM susy.policies)"
    before = run(written)
    given = {"SUSY_DATABASE_URL": database_url}
    document = susy("policy", "backtest", "lenient.toml", "--since", "1d", "--json", **given).document
    assert document["checks"] == 4
    assert document["decisions"] == {"authentic": [1, 3], "synthetic": [2, 1], "inconclusive": [1, 0]}
    assert sum(flip["checks"] for flip in document["flips"]) == 2
    shown = susy("policy", "backtest", "lenient.toml", **given).stdout
    assert "checks 4, days 1, flips 2" in shown
    assert run(written) == before
    assert susy("policy", "backtest", "absent.toml", **given).code == 2
    assert susy("policy", "backtest", "lenient@0123456789ab", **given).code == 1
