"""API keys in the ledger."""

from __future__ import annotations

import hashlib
import re

import pytest

from schema.access import Scope
from tests.support.databases import Sql
from worker.errors import ErrorCode, PermanentError
from worker.store import Store
from worker.store.keys import key_digest


def test_only_the_digest_of_a_key_is_stored(store: Store, run: Sql) -> None:
    key = store.keys.add("hooks", [Scope.SUBMIT], sources=["chat", "avatars"])
    assert re.fullmatch(r"susy_[\w-]{43}", key)
    [(stored,)] = run("SELECT to_jsonb(k)::text FROM susy.api_keys AS k")
    assert key not in stored
    assert key.removeprefix("susy_") not in stored
    (found,) = store.keys.all()
    assert found.digest == key_digest(key) == hashlib.sha256(key.encode()).digest()
    assert (found.name, found.scopes, found.sources) == ("hooks", {Scope.SUBMIT}, {"chat", "avatars"})
    assert (found.expires_at, found.revoked_at, found.last_used_at, found.is_expired) == (None, None, None, False)


def test_a_name_is_free_again_once_its_key_is_revoked(store: Store) -> None:
    store.keys.add("hooks", [Scope.READ])
    with pytest.raises(PermanentError) as taken:
        store.keys.add("hooks", [Scope.READ])
    assert taken.value.code is ErrorCode.CONFLICT
    assert store.keys.revoke("hooks")
    assert not store.keys.revoke("hooks")
    store.keys.add("hooks", [Scope.READ])
    assert [key.revoked_at is None for key in store.keys.all()] == [False, True]


def test_expiry_is_judged_by_the_clock_of_the_database(store: Store, run: Sql) -> None:
    store.keys.add("short", [Scope.READ], lifetime=3600)
    assert not store.keys.all()[0].is_expired
    run("UPDATE susy.api_keys SET expires_at = now() - interval '1 ms'")
    assert store.keys.all()[0].is_expired


def test_use_is_noted_to_about_a_minute(store: Store) -> None:
    store.keys.add("hooks", [Scope.READ])
    (key,) = store.keys.all()
    store.keys.touch([key.id])
    first = store.keys.all()[0].last_used_at
    store.keys.touch([key.id])
    assert first is not None
    assert store.keys.all()[0].last_used_at == first


@pytest.mark.parametrize(
    ("name", "scopes", "sources"),
    [
        ("", [Scope.READ], None),
        ("a\nb", [Scope.READ], None),
        ("x" * 101, [Scope.READ], None),
        ("hooks", [], None),
        ("hooks", [Scope.READ], []),
        ("hooks", [Scope.READ], [""]),
        ("hooks", [Scope.READ], ["\x1b[2J"]),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    store: Store, name: str, scopes: list[Scope], sources: list[str] | None
) -> None:
    with pytest.raises(PermanentError) as refused:
        store.keys.add(name, scopes, sources=sources)
    assert refused.value.code is ErrorCode.INVALID_MESSAGE
    assert store.keys.all() == []


def test_admin_may_everything_and_nobody_else_more_than_their_scopes(store: Store) -> None:
    store.keys.add("admin", [Scope.ADMIN])
    store.keys.add("reader", [Scope.READ], sources=["chat"])
    admin, reader = store.keys.all()
    assert all(admin.may(scope) for scope in Scope)
    assert [scope for scope in Scope if reader.may(scope)] == [Scope.READ]
    assert admin.may_use("anything")
    assert reader.may_use("chat")
    assert not reader.may_use("avatars")
