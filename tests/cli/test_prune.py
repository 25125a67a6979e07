"""`susy prune`."""

from __future__ import annotations

import pytest

from schema.states import Decision
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import calm, done
from worker.store import Store


@pytest.fixture
def command_variables(database_url: str) -> dict[str, str]:
    return {"SUSY_DATABASE_URL": database_url}


def test_it_counts_asks_and_deletes(store: Store, susy: Susy, run: Sql) -> None:
    claim, kept = done(store), done(store, content="c" * 64)
    store.add_review(kept.check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    store.number_events()
    run("UPDATE susy.checks SET finished_at = now() - interval '91 days'")
    options = ("prune", "--older-than", "90d", "--keep-reviewed", "--keep-decision", "authentic")
    counted = susy(*options, "--dry-run", "--json")
    assert counted.document == {
        "matched": 1, "waiting_for_review": 1, "dry_run": True, "checks": 0, "verdicts": 0, "scans": 0, "reviews": 0,
        "events": 0, "deliveries": 0,
    }  # fmt: skip
    refused = susy(*options)
    assert refused.code == 2
    assert "--yes" in refused.stderr
    assert run("SELECT count(*) FROM susy.checks") == [(2,)]
    deleted = susy(*options, "--yes")
    assert deleted.code == 0
    assert deleted.stdout == ("1 matched; deleted 1 checks, 1 verdicts, 1 scans, 0 reviews, 1 events, 0 callbacks\n")
    assert run("SELECT id FROM susy.checks") == [(kept.check_id,)]
    assert claim.check_id != kept.check_id


def test_what_waits_for_a_review_is_pointed_out_and_kept_if_wanted(store: Store, susy: Susy, run: Sql) -> None:
    waiting = done(store)
    done(store, verdict=calm(), content="c" * 64)
    store.number_events()
    run("UPDATE susy.checks SET finished_at = now() - interval '91 days'")
    options = ("prune", "--older-than", "90d")
    assert "2 checks would be deleted, of which 1 still wait for a review" in " ".join(
        susy(*options, "--dry-run").stderr.split()
    )
    assert susy(*options, "--keep-waiting", "--yes", "--json").document["checks"] == 1
    assert run("SELECT id FROM dashboard.review_queue") == [(waiting.check_id,)]


@pytest.mark.parametrize(
    ("age", "why"),
    [("12h", "less than a day"), ("soon", "soon"), ("-3d", "-3d"), ("0", "less than a day"), ("9" * 20 + "d", "999")],
)
def test_an_age_that_cannot_be_meant_is_refused(susy: Susy, age: str, why: str) -> None:
    refused = susy("prune", "--older-than", age, "--yes")
    assert refused.code == 2
    assert why in refused.stderr


def test_a_decision_that_does_not_exist_is_refused(susy: Susy) -> None:
    refused = susy("prune", "--older-than", "90d", "--keep-decision", "fake", "--yes")
    assert refused.code == 2
    assert "fake" in refused.stderr
