"""`susy reviews`: in bulk, undone, compared; and what is refused."""

from __future__ import annotations

from uuid import uuid4

import pytest

from schema.states import Decision
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import done
from tests.support.moderating import Moderators
from worker.store import Store


@pytest.fixture
def command_variables(database_url: str) -> dict[str, str]:
    return {"SUSY_DATABASE_URL": database_url}


def test_a_bulk_review_is_tried_made_and_undone(store: Store, run: Sql, susy: Susy) -> None:
    check_ids = [done(store).check_id for _ in range(3)]
    bulk = ("reviews", "bulk", "--source", "avatars", "--decision", "synthetic", "--as", "authentic", "--by", "ada")
    tried = susy(*bulk, "--dry-run", "--json")
    assert tried.documents == [{"source": "avatars", "decision": "synthetic", "checks": 3}]
    assert run("SELECT count(*) FROM susy.reviews") == [(0,)]
    made = susy(*bulk, "--since", "1h", "--note", "a campaign", "--json").document
    assert (made["reviews"], made["decision"], made["by"]) == (3, "authentic", "ada")
    [(filters,)] = run("SELECT filters FROM susy.review_batches")
    assert filters.keys() == {"source", "decision", "since"}
    undone = susy("reviews", "undo", made["batch_id"], "--by", "grace", "--reason", "wrong", "--json").document
    assert undone["reviews"] == 3
    again = susy("reviews", "undo", made["batch_id"], "--by", "grace", "--reason", "wrong")
    assert (again.code, "was undone before" in again.stderr) == (1, True)
    single = susy("review", str(check_ids[0]), "authentic", "--by", "ada", "--json").document
    assert "1 undone" in susy("reviews", "undo", single["review_id"], "--by", "ada", "--reason", "slip").stdout


REFUSED: list[tuple[list[str], int, str]] = [
    (["bulk", "--as", "synthetic", "--by", "ada"], 2, "at least one filter"),
    (["bulk", "--as", "synthetic", "--by", "ada", "--reviewed-too"], 2, "at least one filter"),
    (["bulk", "--as", "synthetic", "--by", " ", "--source", "a"], 2, "must not be empty"),
    (["bulk", "--as", "perhaps", "--by", "ada", "--source", "a"], 2, "perhaps"),
    (["bulk", "--as", "synthetic", "--by", "ada", "--source", "a", "--limit", "10001"], 2, "or equal to 10000"),
    (["bulk", "--as", "synthetic", "--by", "ada", "--source", "a", "--min-score", "2"], 2, "min-score"),
    (["bulk", "--as", "synthetic", "--by", "ada", "--source", "nobody"], 1, "no check that has ended matches"),
    (["undo", str(uuid4()), "--by", "ada", "--reason", "x"], 1, "unknown_review"),
    (["undo", str(uuid4()), "--by", "ada", "--reason", " "], 2, "must not be empty"),
    (["undo", "7", "--by", "ada", "--reason", "x"], 2, "UUID"),
    (["configure", "--second", "0.5"], 2, "say why"),
    (["configure", "--golden", "1.5", "--reason", "x"], 2, "or equal to 1"),
    (["golden", "add", str(uuid4()), "--by", "ada", "--reason", "x"], 1, "unknown_check"),
    (["golden", "add", str(uuid4()), "--by", " ", "--reason", "x"], 2, "must not be empty"),
    (["golden", "remove", str(uuid4()), "--by", "ada", "--reason", "x"], 1, "unknown_check"),
]


def test_what_cannot_be_meant_is_refused_and_nothing_is_written(susy: Susy, run: Sql) -> None:
    for arguments, code, problem in REFUSED:
        refused = susy("reviews", *arguments)
        assert (refused.code, "Traceback" in refused.stderr) == (code, False), arguments
        assert problem in " ".join(refused.stderr.split()), arguments
    assert run("SELECT count(*) FROM dashboard.audit_log") == [(0,)]


def test_the_rates_apply_to_claims_and_are_revisions(store: Store, susy: Susy, moderators: Moderators) -> None:
    assert susy("reviews", "configure", "--json").document == {"second_rate": 0.0, "golden_rate": 0.0}
    assert "Nobody has given a second review" in susy("reviews", "agreement").stderr
    susy("reviews", "configure", "--second", "1", "--reason", "measure")
    assert susy("reviews", "configure", "--golden", "1", "--reason", "measure").code == 0
    assert susy("reviews", "configure", "--json").document == {"second_rate": 1.0, "golden_rate": 1.0}
    golden = done(store).check_id
    store.add_review(golden, reviewer="expert", decision=Decision.SYNTHETIC)
    added = susy("reviews", "golden", "add", str(golden), "--by", "grace", "--reason", "known", "--json")
    assert added.document["decision"] == "synthetic"
    done(store, content="e" * 64)
    for moderator in ("ada", "ben"):
        for _ in range(2):
            claim = moderators.claim(moderator)
            assert claim is not None
            moderators.review(claim, moderator, "synthetic")
    accuracy = susy("reviews", "accuracy", "--json").documents
    assert [(each["reviewer"], each["correct"], each["answers"]) for each in accuracy] == [("ada", 1, 1), ("ben", 1, 1)]
    whole, pair = susy("reviews", "agreement", "--source", "avatars", "--since", "1h", "--json").documents
    assert (whole["checks"], pair["reviewer"], pair["agreement"]) == (1, "ada", 1.0)
    assert "undefined" in susy("reviews", "agreement").stdout
    assert "100.0%" in susy("reviews", "accuracy").stdout
    [item] = susy("reviews", "golden", "list", "--json").documents
    assert (item["check_id"], item["answers"], item["correct"]) == (str(golden), 2, 2)
    assert susy("reviews", "golden", "remove", str(golden), "--by", "grace", "--reason", "easy").code == 0
    assert "synthetic" not in susy("reviews", "golden", "list").stdout
    history = susy("policy", "history", "--json").documents
    assert [each["change"] for each in history] == ["rates of reviews: golden 1", "rates of reviews: second 1"]
    assert susy("policy", "rollback", "1", "--reason", "enough").code == 0
    assert susy("reviews", "configure", "--json").document == {"second_rate": 1.0, "golden_rate": 0.0}


def test_a_source_with_control_characters_is_shown_as_text(store: Store, susy: Susy) -> None:
    done(store, source="avatars\x1b[31m[bold]")
    shown = susy("reviews", "bulk", "--decision", "synthetic", "--as", "authentic", "--by", "ada", "--dry-run").stdout
    assert "\x1b" not in shown
    assert "[bold]" in shown
