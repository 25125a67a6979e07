"""The audit log: what operators did, whoever did it by whichever command, and nothing secret."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from schema.access import Scope
from schema.states import CheckState, Decision, KeyKind, Lane
from schema.verdict import PolicyVersion
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import claimed, done, submission
from worker.errors import ErrorCode
from worker.store import CheckFilter, Store
from worker.store.callbacks import CallbackStore

SECRET = b"s" * 32


def log(run: Sql) -> list[tuple[Any, ...]]:
    return run("SELECT kind, actor, action, subject, reason FROM dashboard.audit_log ORDER BY at")


def test_policies_and_reviews_are_in_the_log(store: Store, run: Sql) -> None:
    store.policies.put(PolicyVersion("uploads", "1a2b3c"), {"name": "uploads"})
    store.policies.change(1, {"active": {}}, change="activate uploads@1a2b3c", changed_by="grace", reason="stricter")
    run(
        "INSERT INTO susy.policy_applications (policy_name, policy_version, filter, applied_by, started_at)"
        " VALUES ('uploads', '1a2b3c', '{}', 'grace', clock_timestamp())"
    )
    check = done(store)
    store.add_review(check.check_id, reviewer="ada", decision=Decision.AUTHENTIC, note="a poster")
    assert log(run) == [
        ("policy", "grace", "activate uploads@1a2b3c", "revision 1", "stricter"),
        ("policy", "grace", "apply uploads@1a2b3c", "application 1", None),
        ("review", "ada", "authentic", str(check.check_id), "a poster"),
    ]


def test_keys_that_are_created_and_revoked_are_in_the_log(store: Store, run: Sql) -> None:
    store.keys.add("hook", [Scope.SUBMIT], sources=["avatars"])
    store.keys.touch([key.id for key in store.keys.all()])
    store.keys.revoke("hook")
    [(user,)] = run("SELECT session_user::text")
    assert log(run) == [("key", user, "create", "hook", None), ("key", user, "revoke", "hook", None)]
    [(details,)] = run("SELECT details FROM dashboard.audit_log WHERE action = 'create'")
    assert (details["scopes"], details["sources"]) == (["submit"], ["avatars"])


def test_endpoints_are_in_the_log_without_what_is_secret(database_url: str, run: Sql) -> None:
    with CallbackStore(database_url) as callbacks:
        url = "https://platform.example/hooks?token=hush"
        callbacks.add_endpoint(
            name="platform", url=url, sources=[], allow_private=False, kind=KeyKind.HMAC, secret=SECRET
        )
        endpoint = callbacks.endpoint("platform").id
        callbacks.note_failures(endpoint, 1)
        callbacks.rotate_key(endpoint, KeyKind.HMAC, b"t" * 32, keep=60)
        callbacks.disable(endpoint, "the receiver answered 410 Gone")
        callbacks.enable(endpoint)
    assert [(action, subject, reason) for _, _, action, subject, reason in log(run)] == [
        ("add", "platform", None),
        ("rotate", "platform", None),
        ("disable", "platform", "the receiver answered 410 Gone"),
        ("enable", "platform", None),
    ]
    assert "hush" not in str(run("SELECT * FROM dashboard.audit_log"))


def test_pauses_retries_and_cancellations_are_in_the_log(store: Store, run: Sql) -> None:
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.CORRUPT, message="no", retry_in=None)
    assert store.requeue(CheckState.QUARANTINED, CheckFilter(code="corrupt")) == 1
    assert store.requeue(CheckState.QUARANTINED, CheckFilter()) == 0
    store.submit(submission())
    assert store.cancel(CheckFilter(source="avatars")) == 2
    assert store.pause(Lane.LIVE)
    assert not store.pause(Lane.LIVE)
    assert store.resume(Lane.LIVE)
    assert [(kind, action, subject) for kind, _, action, subject, _ in log(run)] == [
        ("checks", "retry", "1"),
        ("checks", "cancel", "2"),
        ("lane", "pause", "live"),
        ("lane", "resume", "live"),
    ]
    [(details,)] = run("SELECT details FROM dashboard.audit_log WHERE action = 'retry'")
    assert details == {"check_ids": [str(claim.check_id)], "state": "quarantined", "code": "corrupt", "source": None}


@pytest.mark.parametrize("change", ["UPDATE susy.operations SET actor = 'x'", "DELETE FROM susy.operations"])
def test_what_was_done_cannot_be_changed(store: Store, run: Sql, change: str) -> None:
    store.pause(Lane.LIVE)
    with pytest.raises(psycopg.errors.RestrictViolation):
        run(change)


MANY_REVIEWS = """
INSERT INTO susy.reviews (id, check_id, reviewer, decision, created_at, batch_id)
SELECT gen_random_uuid(), %(check_id)s, 'ada', 'authentic', now() - i * interval '1 second',
    CASE WHEN i < 5000 THEN %(batch_id)s::uuid END
FROM generate_series(1, 20000) AS i
"""


@pytest.mark.parametrize("condition", ["", "WHERE at < now() - interval '1 hour'", "WHERE kind = 'review'"])
def test_the_latest_entries_are_found_without_reading_every_review(store: Store, run: Sql, condition: str) -> None:
    """The latest 5,000 reviews belong to one bulk review, which is one entry."""
    check = done(store)
    [(batch,)] = run(
        "INSERT INTO susy.review_batches (id, reviewer, decision, filters, reviews)"
        " VALUES (gen_random_uuid(), 'ada', 'authentic', '{}', 5000) RETURNING id"
    )
    with store._database.connection() as connection, connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")  # without triggers, which are not the point
        connection.execute(MANY_REVIEWS, {"check_id": check.check_id, "batch_id": batch})
    store.pause(Lane.LIVE)
    run("ANALYZE susy.reviews")
    latest = f"SELECT * FROM dashboard.audit_log {condition} ORDER BY at DESC LIMIT 50"
    plan = "\n".join(line for (line,) in run(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {latest}"))
    assert "ix_reviews_single" in plan
    assert "Seq Scan on reviews" not in plan
    assert max(float(rows) for rows in re.findall(r"actual rows=([\d.]+)", plan)) <= 51, plan
    times = [row[0] for row in run(latest)]
    assert times == sorted(times, reverse=True)
    assert len(times) == 50


def test_the_log_names_the_person_and_keeps_the_login(database_url: str, store: Store, run: Sql) -> None:
    with Store(database_url, pool_size=1, actor="grace") as hers:
        hers.keys.add("hook", [Scope.SUBMIT])
        hers.pause(Lane.LIVE)
        waiting = hers.submit(submission()).check_id
        assert hers.cancel(CheckFilter(check_ids=[waiting]), actor="key upload-hook") == 1
        assert hers.resume(Lane.LIVE)
    with CallbackStore(database_url, actor="ada") as callbacks:
        callbacks.add_endpoint(
            name="platform",
            url="https://platform.example/",
            sources=[],
            allow_private=False,
            kind=KeyKind.HMAC,
            secret=SECRET,
        )
    store.pause(Lane.BACKFILL)
    [(user,)] = run("SELECT session_user::text")
    entries = run("SELECT actor, action, details ->> 'login' FROM dashboard.audit_log ORDER BY at")
    assert entries == [
        ("grace", "create", user),
        ("grace", "pause", user),
        ("key upload-hook", "cancel", user),
        ("grace", "resume", user),
        ("ada", "add", user),
        (user, "pause", None),
    ]


def test_commands_name_who_runs_them(susy: Susy, database_url: str, run: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "root")
    monkeypatch.delenv("SUDO_USER", raising=False)
    given = {"SUSY_DATABASE_URL": database_url}
    assert susy("key", "create", "one", **given).code == 0
    assert susy("key", "create", "two", SUDO_USER="grace", **given).code == 0
    assert susy("key", "revoke", "one", "--by", "ada", SUDO_USER="grace", **given).code == 0
    assert susy("backlog", "pause", "live", "--by", " ", **given).code == 2
    assert susy("backlog", "pause", "live", "--by", "ada", **given).code == 0
    assert [entry[:2] for entry in run("SELECT actor, action FROM dashboard.audit_log ORDER BY at")] == [
        ("root", "create"),
        ("grace", "create"),
        ("ada", "revoke"),
        ("ada", "pause"),
    ]
