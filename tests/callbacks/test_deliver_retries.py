"""Delivering what failed: on the schedule, as the receiver asks, until an operator retries it."""

from __future__ import annotations

import time

import pytest

from tests.callbacks.conftest import AddEndpoint, Clock, deliver, failing
from tests.support.databases import Sql
from tests.support.ledger import done
from tests.support.receiver import RESET, Receiver
from worker.callbacks.deliver import Deliverer
from worker.callbacks.schedule import MAX_ATTEMPTS, RETRY_AFTER
from worker.store import Store
from worker.store.callbacks import FAILURES_TO_OPEN, CallbackStore

DELIVERIES = "SELECT state, attempts, status, error_code FROM susy.deliveries ORDER BY event_id"


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
