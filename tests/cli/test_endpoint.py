"""`susy endpoint`, `susy callbacks` and `susy deliver`, as an operator runs them."""

from __future__ import annotations

import base64
import json

import psycopg
import pytest

from tests.support.commands import Processes, Susy
from tests.support.databases import Sql
from tests.support.ledger import done
from tests.support.receiver import Receiver, receiver
from tests.support.waiting import eventually
from worker.callbacks.signing import SigningKey
from worker.store import Store


@pytest.fixture
def command_variables(database_url: str) -> dict[str, str]:
    return {"SUSY_DATABASE_URL": database_url, "SUSY_CALLBACK_TIMEOUT": "2s"}


def add(susy: Susy, running: Receiver, *options: str) -> str:
    """Register the receiver as `platform`; the secret that was printed."""
    result = susy("endpoint", "add", running.url, "--name", "platform", "--allow-private", *options)
    assert result.code == 0, result.stderr
    return result.stdout.strip()


def test_an_endpoint_is_added_tested_listed_disabled_enabled_and_rotated(susy: Susy) -> None:
    with receiver() as running:
        running.secret = add(susy, running, "--source", "avatars", "--source", "chat")
        assert running.secret.startswith("whsec_")
        tested = susy("endpoint", "test", "platform", "--json")
        assert (tested.code, tested.document["status"]) == (0, 204)
        [received] = running.received
        assert received.is_verified
        assert received.document["type"] == "endpoint.test"
        assert received.id == tested.document["id"]

        document = susy("endpoint", "list", "--json").document
        assert (document["name"], document["sources"], document["signatures"]) == (
            "platform",
            ["avatars", "chat"],
            ["hmac"],
        )
        assert "enabled" in susy("endpoint", "list").stdout

        assert susy("endpoint", "disable", "platform", "--reason", "moving").stdout == "platform is disabled\n"
        assert "disabled: moving" in susy("endpoint", "list").stdout
        assert susy("endpoint", "enable", "platform").stdout == "platform is enabled\n"
        assert susy("endpoint", "enable", "platform").stdout == "platform was enabled before\n"

        rotated = susy("endpoint", "rotate", "platform", "--json").document
        assert rotated["key"] != running.secret
        for secret in (running.secret, rotated["key"]):
            running.secret = secret
            assert susy("endpoint", "test", "platform").code == 0
            assert running.received[-1].is_verified
        assert susy("endpoint", "rotate", "platform", "--keep", "0").code == 0
        assert susy("endpoint", "test", "platform").code == 0
        assert not running.received[-1].is_verified


def test_a_secret_is_shown_once_and_never_by_the_views(susy: Susy, database_url: str, run: Sql) -> None:
    with receiver() as running:
        secret = add(susy, running)
    shown = susy("endpoint", "list", "--json").stdout + susy("endpoint", "list").stdout
    shown += susy("callbacks", "status", "--json").stdout
    assert secret not in shown
    with psycopg.connect(database_url) as connection:
        connection.execute("SET ROLE susy_dashboard")
        assert secret not in str(connection.execute("SELECT * FROM dashboard.endpoints").fetchall())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM susy.endpoint_keys")


def test_an_ed25519_endpoint_shows_its_public_key_and_never_the_private_one(susy: Susy) -> None:
    seed = base64.b64encode(bytes(range(32))).decode()
    with receiver() as running:
        result = susy(
            "endpoint", "add", running.url, "--name", "platform", "--allow-private", "--secret-stdin",
            stdin=f"whsk_{seed}\n".encode(),
        )  # fmt: skip
        public = SigningKey.parse(f"whsk_{seed}").shared
        assert result.stdout.strip() == public
        assert susy("endpoint", "list", "--json").document["public_keys"] == [public]
        assert susy("endpoint", "test", "platform").code == 0
    assert running.received[-1].headers["webhook-signature"].startswith("v1a,")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("add", "http://receiver.example/", "--name", "platform"), "scheme_refused"),
        (("add", "https://10.0.0.1/", "--name", "platform"), "address_refused"),
        (("add", "https://receiver.example/", "--name", "A b"), "invalid_message"),
        (("add", "https://receiver.example/", "--name", "taken"), "conflict"),
        (("add", "https://receiver.example/", "--name", "platform", "--secret-stdin"), "key_invalid"),
        (("test", "other"), "unknown_endpoint"),
        (("rotate", "other"), "unknown_endpoint"),
        (("disable", "other"), "unknown_endpoint"),
    ],
)
def test_what_cannot_be_done_is_named_by_its_code(susy: Susy, arguments: tuple[str, ...], code: str) -> None:
    assert susy("endpoint", "add", "https://receiver.example/hooks", "--name", "taken").code == 0
    result = susy("endpoint", *arguments, stdin=b"whsec_short")
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"susy: {code}: ")


def test_a_test_that_is_refused_fails_with_the_status(susy: Susy) -> None:
    with receiver() as running:
        add(susy, running)
        running.answer = lambda _received: (403, {})
        assert "answered 403" in susy("endpoint", "test", "platform").stderr
        assert susy("endpoint", "test", "platform", "--json").document["error"]["code"] == "callback_refused"
    gone = susy("endpoint", "test", "platform")
    assert (gone.code, "remote_unavailable" in gone.stderr) == (1, True)


def test_callbacks_that_failed_are_counted_and_retried(susy: Susy, store: Store, run: Sql) -> None:
    with receiver() as running:
        add(susy, running, "--source", "avatars")
    done(store)
    store.events_after(0, limit=1)
    run("UPDATE susy.deliveries SET state = 'failed', error_code = 'callback_refused', finished_at = now()")
    document = susy("callbacks", "status", "--json").document
    assert (document["endpoint"], document["failed"], document["pending"]) == ("platform", 1, 0)
    assert susy("callbacks", "retry").code == 2
    assert susy("callbacks", "retry", "--endpoint", "other").code == 1
    assert susy("callbacks", "retry", "--endpoint", "platform", "--since", "1h", "--json").document == {"changed": 1}
    assert susy("callbacks", "retry", "--all").stdout == "0 changed\n"
    assert susy("callbacks", "status", "--json").document["pending"] == 1
    assert "platform" in susy("callbacks", "status").stdout


def test_deliver_is_a_process_of_its_own_that_stops_in_order(
    susy: Susy, processes: Processes, store: Store, run: Sql
) -> None:
    with receiver() as running:
        running.secret = add(susy, running, "--source", "avatars")
        deliverer = processes.start("deliver")
        done(store)
        eventually(lambda: running.received, 30, deliverer.output)
        assert running.received[0].is_verified
        eventually(lambda: run("SELECT state FROM susy.deliveries") == [("delivered",)], 10, deliverer.output)
        deliverer.terminate()
        assert deliverer.wait() == 0
        assert running.secret not in deliverer.output()
        assert json.loads(running.received[0].body)["data"]["decision"] == "synthetic"
