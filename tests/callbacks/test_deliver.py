"""Delivering: signed, at least once under one id, in the order of a check's events, on the schedule."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from schema.states import CheckState, KeyKind
from tests.callbacks.conftest import AddEndpoint, Clock, deliver
from tests.support.databases import Sql
from tests.support.ledger import claimed, done, examination, submission
from tests.support.receiver import RESET, Receiver
from tests.support.web import HOST, Authority, web_server
from worker.callbacks.deliver import Deliverer
from worker.callbacks.schedule import MAX_ATTEMPTS, RETRY_AFTER
from worker.callbacks.signing import SigningKey
from worker.errors import ErrorCode
from worker.settings import Settings
from worker.store import CheckFilter, Store
from worker.store.callbacks import FAILURES_TO_OPEN, CallbackStore

DELIVERIES = "SELECT state, attempts, status, error_code FROM susy.deliveries ORDER BY event_id"


def failing(status: int, *, times: int = 10**9, **headers: str):  # type: ignore[no-untyped-def]
    """An answer: so many times this status, then 204."""
    left = [times]

    def answer(_received: object) -> tuple[int, dict[str, str]]:
        left[0] -= 1
        return (
            (status, {name.replace("_", "-"): value for name, value in headers.items()}) if left[0] >= 0 else (204, {})
        )

    return answer


def quarantine(store: Store, run: Sql) -> UUID:
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.CORRUPT, message="a JPEG without a header", retry_in=None)
    return claim.check_id


def finish_again(store: Store, check_id: UUID) -> None:
    """Requeue a quarantined check, and record a verdict."""
    assert store.requeue(CheckState.QUARANTINED, CheckFilter(check_ids=[check_id])) == 1
    again = store.claim(check_id, worker="worker-2", lease=60, max_attempts=5)
    assert again is not None
    store.record(again, examination())


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


def test_every_end_of_a_check_is_called_back(store: Store, platform: Receiver, deliverer: Deliverer, run: Sql) -> None:
    done(store)
    quarantine(store, run)
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


@pytest.mark.parametrize("status", [500, 302, 404, RESET])
def test_a_failed_attempt_is_repeated_on_the_schedule_under_the_same_id_with_the_same_body(
    store: Store, platform: Receiver, deliverer: Deliverer, clock: Clock, run: Sql, status: int
) -> None:
    done(store)
    platform.answer = failing(status, times=2, location="http://127.0.0.1:1/")
    deliver(deliverer)
    assert len(platform.received) == 1
    clock.advance(RETRY_AFTER[0] * 0.9)
    deliver(deliverer)
    assert len(platform.received) == 1
    clock.advance(RETRY_AFTER[0] * 0.5)
    time.sleep(1.0)  # the timestamp of the header counts seconds
    deliver(deliverer)
    clock.advance(RETRY_AFTER[1] * 1.25)
    deliver(deliverer)
    first, second, third = platform.received
    assert first.id == second.id == third.id
    assert first.body == second.body == third.body
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert all(received.is_verified for received in platform.received)
    assert run(DELIVERIES) == [("delivered", 3, 204, None)]


def test_after_the_whole_schedule_a_callback_has_failed_until_an_operator_retries_it(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, clock: Clock, run: Sql
) -> None:
    done(store)
    platform.answer = failing(500)
    for wait in (*RETRY_AFTER, RETRY_AFTER[-1]):
        deliver(deliverer)
        clock.advance(wait * 1.25 + 400)  # beyond the circuit, too
    assert len(platform.received) == MAX_ATTEMPTS
    assert run(DELIVERIES) == [("failed", MAX_ATTEMPTS, 500, "callback_refused")]
    [status] = callbacks.status()
    assert (status.failed, status.pending) == (1, 0)
    platform.answer = failing(204)
    assert callbacks.retry(endpoint="platform") == 1
    deliver(deliverer)
    assert len(set(platform.ids)) == 1
    assert run(DELIVERIES) == [("delivered", 1, 204, None)]


def test_retry_after_is_honoured_and_bounded(
    store: Store, platform: Receiver, deliverer: Deliverer, clock: Clock, run: Sql
) -> None:
    done(store)
    platform.answer = failing(503, times=1, retry_after="120")
    deliver(deliverer)
    clock.advance(110)
    deliver(deliverer)
    assert len(platform.received) == 1
    clock.advance(15)
    deliver(deliverer)
    assert len(platform.received) == 2
    done(store, content="d" * 64)
    platform.answer = failing(429, times=1, retry_after="999999999")
    deliver(deliverer)
    clock.advance(86_400 + 60)
    deliver(deliverer)
    assert run("SELECT count(*) FROM susy.deliveries WHERE state = 'delivered'") == [(2,)]


def test_410_disables_the_endpoint_and_loses_nothing(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, clock: Clock
) -> None:
    done(store)
    platform.answer = failing(410, times=1)
    deliver(deliverer)
    assert callbacks.endpoint("platform").disabled_at is not None
    done(store, content="d" * 64)
    clock.advance(86_400)
    deliver(deliverer)
    assert len(platform.received) == 1
    assert callbacks.enable(callbacks.endpoint("platform").id)
    deliver(deliverer)
    assert len(platform.received) == 3
    assert len(set(platform.ids)) == 2


def test_a_newer_event_supersedes_an_older_one_that_waits(
    store: Store, platform: Receiver, deliverer: Deliverer, clock: Clock, run: Sql
) -> None:
    platform.answer = failing(500, times=1)
    check_id = quarantine(store, run)
    deliver(deliverer)
    finish_again(store, check_id)
    deliver(deliverer)
    clock.advance(86_400)
    deliver(deliverer)
    assert [received.data["state"] for received in platform.received] == ["quarantined", "done"]
    assert [state for state, *_ in run(DELIVERIES)] == ["superseded", "delivered"]


def test_a_newer_event_waits_for_an_older_one_that_is_being_sent(
    store: Store, platform: Receiver, deliverer: Deliverer, run: Sql
) -> None:
    def answer(received: object) -> tuple[int, dict[str, str]]:
        if len(platform.received) == 1:
            finish_again(store, check_id)
            time.sleep(0.6)  # while the newer event is handed to the endpoint
            finished.append(len(platform.received))
        return 204, {}

    finished: list[int] = []
    platform.answer = answer
    check_id = quarantine(store, run)
    deliver(deliverer)
    deliver(deliverer)
    assert finished == [1]
    assert [received.data["state"] for received in platform.received] == ["quarantined", "done"]
    first, second = platform.received
    assert first.data["sequence"] < second.data["sequence"]


def test_an_older_event_is_not_retried_after_a_newer_one(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, run: Sql
) -> None:
    check_id = quarantine(store, run)
    deliver(deliverer)
    run("UPDATE susy.deliveries SET state = 'failed', error_code = 'callback_refused'")
    finish_again(store, check_id)
    deliver(deliverer)
    assert callbacks.retry() == 1
    deliver(deliverer)
    assert [received.data["state"] for received in platform.received] == ["quarantined", "done"]
    assert [state for state, *_ in run(DELIVERIES)] == ["superseded", "delivered"]


def test_the_lease_of_a_dead_deliverer_runs_out_and_the_same_event_is_sent_again(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, clock: Clock
) -> None:
    done(store)
    callbacks.number_events()
    endpoint_id = callbacks.endpoint("platform").id
    [dead] = callbacks.claim({endpoint_id: 5}, lease=30.0)
    deliver(deliverer)
    assert platform.received == []
    clock.advance(31)
    deliver(deliverer)
    assert platform.ids == [dead.event.message_id]


def test_what_a_deliverer_writes_after_its_lease_is_ignored(
    store: Store, callbacks: CallbackStore, platform: Receiver, clock: Clock, run: Sql
) -> None:
    from worker.store.callbacks import Attempted

    done(store)
    callbacks.number_events()
    endpoint_id = callbacks.endpoint("platform").id
    [late] = callbacks.claim({endpoint_id: 5}, lease=30.0)
    clock.advance(31)
    [current] = callbacks.claim({endpoint_id: 5}, lease=30.0)
    assert callbacks.record([Attempted(late, 500, "callback_refused", "late", retry_in=5.0)]) == 0
    assert callbacks.record([Attempted(current, 204, None)]) == 1
    assert run(DELIVERIES) == [("delivered", 2, 204, None)]


def test_deliverers_share_the_work_without_sending_anything_twice(
    store: Store, callbacks: CallbackStore, settings: Settings, platform: Receiver
) -> None:
    for number in range(60):
        done(store, content=f"{number:064x}")
    several = [Deliverer(callbacks, settings) for _ in range(3)]
    try:
        for _ in range(200):
            for deliverer in several:
                deliverer.round()
            if len(platform.received) >= 60:
                break
            time.sleep(0.02)
    finally:
        for deliverer in several:
            deliverer.close()
    assert len(platform.ids) == len(set(platform.ids)) == 60


def test_the_circuit_leaves_a_dead_endpoint_alone_and_tries_it_with_one_callback(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, clock: Clock, run: Sql
) -> None:
    platform.answer = failing(500)
    for number in range(80):
        done(store, content=f"{number:064x}")
    deliver(deliverer)
    sent = len(platform.received)
    assert FAILURES_TO_OPEN <= sent < FAILURES_TO_OPEN + 16
    assert callbacks.endpoint("platform").open_until is not None
    clock.advance(7 * 2**16)
    deliver(deliverer)
    assert len(platform.received) == sent + 1, "one trial"
    platform.answer = failing(204)
    for _ in range(6):
        clock.advance(86_400 * 1.3)
        deliver(deliverer)
    assert callbacks.endpoint("platform").failures == 0
    assert run("SELECT DISTINCT state FROM susy.deliveries") == [("delivered",)]


def test_an_endpoint_that_answers_500_for_an_hour_gets_everything_afterwards(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, clock: Clock, run: Sql
) -> None:
    platform.answer = failing(500)
    for number in range(60):
        done(store, content=f"{number:064x}")
    for _ in range(60):
        deliver(deliverer)
        clock.advance(60)
    during = len(platform.received)
    assert during < 60, "the circuit keeps most from being attempted"
    assert run("SELECT count(*) FROM susy.deliveries WHERE state <> 'pending'") == [(0,)]
    platform.answer = failing(204)
    for _ in range(4):
        deliver(deliverer)
        clock.advance(1800 * 1.25)
    deliver(deliverer)
    assert run("SELECT state, count(*) FROM susy.deliveries GROUP BY 1") == [("delivered", 60)]
    assert len(set(platform.ids)) == 60
    assert len(platform.received) == during + 60


def test_an_endpoint_that_hangs_does_not_hold_up_another_one(
    store: Store, add_endpoint: AddEndpoint, deliverer: Deliverer
) -> None:
    hanging, healthy = add_endpoint("hanging"), add_endpoint("healthy")
    hanging.answer = lambda _received: (time.sleep(5), (204, {}))[1]
    for number in range(40):
        done(store, content=f"{number:064x}")
    began = time.monotonic()
    while len(healthy.received) < 40:
        assert time.monotonic() - began < 2.0, f"{len(healthy.received)} of 40"
        deliverer.round()
        time.sleep(0.01)


def test_a_receiver_that_refuses_one_message_keeps_getting_the_others(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer
) -> None:
    platform.answer = failing(422)
    for number in range(30):
        done(store, content=f"{number:064x}")
    deliver(deliverer)
    assert len(platform.received) == 30
    assert callbacks.endpoint("platform").open_until is None


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
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, clock: Clock, run: Sql
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
