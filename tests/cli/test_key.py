"""`susy key`: create, list and revoke."""

from __future__ import annotations

import pytest

from tests.support.commands import Susy
from worker.store import Store
from worker.store.keys import key_digest


@pytest.fixture
def command_variables(database_url: str) -> dict[str, str]:
    return {"SUSY_DATABASE_URL": database_url}


def test_a_key_is_printed_alone_on_stdout_and_never_again(susy: Susy, store: Store) -> None:
    created = susy("key", "create", "hooks")
    assert created.code == 0, created.stderr
    key = created.stdout.strip()
    assert store.keys.all()[0].digest == key_digest(key)
    assert "submit" in created.stderr
    assert key not in created.stderr
    for form in ((), ("--json",)):
        assert key.removeprefix("susy_") not in susy("key", "list", *form).stdout


def test_scopes_sources_and_expiry_are_kept(susy: Susy) -> None:
    options = ["--scope", "read", "--source", "chat", "--source", "avatars", "--expires", "90d"]
    document = susy("key", "create", "reader", *options, "--json").document
    assert (document["scopes"], document["sources"]) == (["read"], ["chat", "avatars"])
    (listed,) = susy("key", "list", "--json").documents
    assert (listed["name"], listed["state"], listed["sources"]) == ("reader", "valid", ["avatars", "chat"])
    assert listed["expires_at"] > listed["created_at"]
    table = susy("key", "list").stdout
    assert "reader" in table
    assert "avatars, chat" in table


def test_a_key_that_reviews_and_reads_what_others_decided_is_pointed_out(susy: Susy) -> None:
    assert "--scope review alone" in susy("key", "create", "both", "--scope", "review", "--scope", "read").stderr
    assert "--scope review alone" not in susy("key", "create", "tool", "--scope", "review").stderr


def test_revoking_names_what_is_revoked_and_fails_for_what_is_not_there(susy: Susy) -> None:
    susy("key", "create", "hooks")
    assert susy("key", "revoke", "hooks").stdout.strip() == "hooks is revoked"
    again = susy("key", "revoke", "hooks")
    assert (again.code, again.stdout) == (1, "")
    assert susy("key", "list", "--json").document["state"] == "revoked"


@pytest.mark.parametrize(
    "options", [("--scope", "write"), ("--expires", "soon"), ("--expires", "0s"), ("--source", "")]
)
def test_wrong_usage_creates_nothing(susy: Susy, store: Store, options: tuple[str, ...]) -> None:
    assert susy("key", "create", "hooks", *options).code != 0
    assert store.keys.all() == []
