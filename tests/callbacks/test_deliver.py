"""Delivering: every end of a check, signed, to the endpoints it is for, for as long as it is kept."""

from __future__ import annotations

import time

import pytest

from schema.states import KeyKind
from tests.callbacks.conftest import AddEndpoint, Clock, deliver, quarantine
from tests.support.databases import Sql
from tests.support.ledger import done, submission
from tests.support.receiver import Receiver
from tests.support.web import HOST, Authority, web_server
from worker.callbacks.deliver import Deliverer
from worker.callbacks.signing import SigningKey
from worker.settings import Settings
from worker.store import CheckFilter, Store
from worker.store.callbacks import CallbackStore

DELIVERIES = "SELECT state, attempts, status, error_code FROM susy.deliveries ORDER BY event_id"


def test_a_verdict_arrives_signed_with_the_map_behind_a_link(
    store: Store, platform: Receiver, deliverer: Deliverer, run: Sql
) -> None:
    claim = done(store, external_id="upload-1")
    deliver(deliverer)
    [received] = platform.received
    assert received.is_verified
    assert received.headers["content-type"] == "application/json"
    assert received.document["type"] == "image.verdict.created"
    assert received.data["check_id"] == str(claim.check_id)
    assert received.data["external_id"] == "upload-1"
    assert received.data["map_url"] == f"https://susy.example/v1/checks/{claim.check_id}/map.png"
    assert run(DELIVERIES) == [("delivered", 1, 204, None)]
    deliver(deliverer)
    assert len(platform.received) == 1


@pytest.mark.parametrize("is_trusted", [True, False])
def test_the_certificate_of_a_receiver_is_verified_by_the_authorities_of_the_settings(
    store: Store,
    add_endpoint: AddEndpoint,
    callbacks: CallbackStore,
    settings: Settings,
    authority: Authority,
    run: Sql,
    is_trusted: bool,
) -> None:
    with web_server(authority, "127.0.0.1") as receiver:
        add_endpoint(url=receiver.serve("/hook", status=204).replace(HOST, "127.0.0.1"))
        done(store)
        changes = {"ca_file": authority.ca_file if is_trusted else None}
        deliverer = Deliverer(callbacks, settings.model_copy(update=changes))
        deliver(deliverer)
        deliverer.close()
        [(state, attempts, status, code)] = run(DELIVERIES)
    assert (attempts, len(receiver.requests)) == (1, is_trusted)
    assert (state, status, code) == (
        ("delivered", 204, None) if is_trusted else ("pending", None, "certificate_invalid")
    )


def test_every_end_of_a_check_is_called_back(store: Store, platform: Receiver, deliverer: Deliverer) -> None:
    done(store)
    quarantine(store)
    store.submit(submission())
    store.cancel(CheckFilter(source="avatars"))
    deliver(deliverer)
    assert sorted(received.document["type"] for received in platform.received) == [
        "image.check.cancelled", "image.check.quarantined", "image.verdict.created",
    ]  # fmt: skip
    assert all(received.is_verified for received in platform.received)


def test_a_check_goes_to_the_endpoint_it_names_and_else_to_those_of_its_source(
    store: Store, add_endpoint: AddEndpoint, deliverer: Deliverer
) -> None:
    first, second, named = add_endpoint("first"), add_endpoint("second"), add_endpoint("named", sources=())
    by_source = done(store, content="a" * 64).check_id
    by_name = done(store, content="b" * 64, endpoint="named").check_id
    done(store, content="c" * 64, source="others")
    deliver(deliverer)
    for receiver in (first, second):
        assert [received.data["check_id"] for received in receiver.received] == [str(by_source)]
    assert [received.data["check_id"] for received in named.received] == [str(by_name)]
    assert first.received[0].id == second.received[0].id


def test_both_keys_sign_during_a_rotation_and_only_the_new_one_afterwards(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, run: Sql
) -> None:
    old, new = platform.secret, SigningKey.new(KeyKind.HMAC)
    callbacks.rotate_key(callbacks.endpoint("platform").id, new.kind, new.secret, keep=3600)
    for secret in (old, new.shared):
        platform.secret = secret
        done(store, content=secret.encode().hex()[:64])
        deliver(deliverer)
        assert platform.received[-1].is_verified
        assert len(platform.received[-1].headers["webhook-signature"].split()) == 2
    run("UPDATE susy.endpoint_keys SET expires_at = now() WHERE expires_at IS NOT NULL")
    done(store, content="d" * 64)
    deliver(deliverer)
    assert platform.received[-1].is_verified
    assert len(platform.received[-1].headers["webhook-signature"].split()) == 1


def test_a_private_address_is_refused_unless_the_operator_allowed_it(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, run: Sql
) -> None:
    run("UPDATE susy.endpoints SET allow_private = false, url = replace(url, 'http:', 'https:')")
    done(store)
    deliver(deliverer)
    assert platform.received == []
    assert run(DELIVERIES) == [("pending", 1, None, "address_refused")]


def test_delivered_callbacks_are_deleted_after_a_time_in_bounded_steps(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, clock: Clock
) -> None:
    for number in range(5):
        done(store, content=f"{number:064x}")
    deliver(deliverer)
    assert callbacks.purge(age=3600) == 0
    clock.advance(4000)
    assert [callbacks.purge(age=3600, limit=3) for _ in range(3)] == [3, 2, 0]


def test_a_deliverer_that_stops_gives_back_what_it_has_not_sent(
    store: Store, callbacks: CallbackStore, settings: Settings, platform: Receiver, run: Sql
) -> None:
    platform.answer = lambda _received: (time.sleep(0.3), (204, {}))[1]
    for number in range(50):
        done(store, content=f"{number:064x}")
    deliverer = Deliverer(callbacks, settings)
    deliverer.round()
    deliverer.close()
    sent = len(platform.received)
    assert 0 < sent < 50
    assert run("SELECT state, attempts, count(*) FROM susy.deliveries GROUP BY 1, 2 ORDER BY 1") == [
        ("delivered", 1, sent), ("pending", 0, 50 - sent),
    ]  # fmt: skip
    assert run("SELECT count(*) FROM susy.deliveries WHERE lease_token IS NOT NULL") == [(0,)]
