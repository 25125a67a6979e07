"""What commands print with `--json`, as docs/json.md lists it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.lab.test_cases import OLD, decided
from tests.lab.test_drift import MONDAY, count_day
from tests.support.checkout import DOCS
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.moderating import Moderators
from worker.store import Store

DOCUMENTED = {
    command: re.findall(r"`(\w+)`", members)
    for command, members in re.findall(
        r"^\| `susy ([^`]+)` \| [^|]+ \| (.*) \|$", (DOCS / "json.md").read_text(), re.MULTILINE
    )
}


@pytest.fixture
def command_variables(database_url: str) -> dict[str, str]:
    return {"SUSY_DATABASE_URL": database_url}


@pytest.fixture
def printed(store: Store, susy: Susy, run: Sql, moderators: Moderators) -> dict[str, list[dict[str, Any]]]:
    """What each command prints on a ledger with reviews, second reviews, golden items, cases and drift."""
    case, golden, other, _ = (decided(store, 0.3, number) for number in range(4))
    store.policies.change(1, {"reviews": {"second_rate": 1, "golden_rate": 1}}, change="x", changed_by="x", reason="x")
    count_day(run, MONDAY, [300, 300])
    by = ("--by", "ada", "--json")
    why = ("--reason", "known", *by)
    found: dict[str, list[dict[str, Any]]] = {}

    def ran(command: str, *arguments: object, code: int = 0) -> list[dict[str, Any]]:
        words = [word for word in command.split() if not word.isupper()]
        result = susy(*words, *map(str, arguments))
        assert result.code == code, result.stderr
        found[command] = result.documents
        return result.documents

    ran("explain CHECK_ID", case, "--json")
    [review] = ran("review CHECK_ID DECISION", case, "authentic", *by)
    susy("review", str(golden), "synthetic", *by)
    ran("reviews golden add CHECK_ID", golden, *why)
    for moderator in ("ben", "cleo", "dora"):
        while claim := moderators.claim(moderator, source="avatars"):
            moderators.review(claim, moderator, "authentic")
    ran("reviews agreement", "--json")
    ran("reviews accuracy", "--json")
    ran("reviews configure", "--json")
    ran("reviews golden list", "--json")
    ran("reviews golden remove CHECK_ID", golden, *why)
    ran("cases list", "--json")
    ran("cases add CHECK_ID", other, "--json")
    ran("cases check POLICY", OLD.version, "--max-regressions", 9, "--json")
    ran("reviews undo ID", review["review_id"], *why)
    bulk = ("--source", "avatars", "--reviewed-too", "--as", "synthetic", *by)
    ran("reviews bulk --dry-run", *bulk)
    ran("reviews bulk", *bulk)
    ran("drift", "--all", "--json")
    ran("prune", "--older-than", "90d", "--dry-run", "--json")
    return found


def test_each_command_prints_the_documented_members(printed: dict[str, list[dict[str, Any]]]) -> None:
    assert printed.keys() == DOCUMENTED.keys()
    for command, documents in printed.items():
        assert documents, command
        for document in documents:
            assert sorted(document) == sorted(DOCUMENTED[command]), command
