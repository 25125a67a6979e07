"""Delivering in order: what a newer event does to an older one of the same check, and several deliverers at once."""

from __future__ import annotations

import time
from uuid import UUID

from schema.states import CheckState
from tests.callbacks.conftest import Clock, deliver, failing, quarantine
from tests.support.databases import Sql
from tests.support.ledger import done, examination
from tests.support.receiver import Receiver
from worker.callbacks.deliver import Deliverer
from worker.settings import Settings
from worker.store import CheckFilter, Store
from worker.store.callbacks import CallbackStore

DELIVERIES = "SELECT state, attempts, status, error_code FROM susy.deliveries ORDER BY event_id"


def finish_again(store: Store, check_id: UUID) -> None:
    """Requeue a quarantined check, and record a verdict."""
    assert store.requeue(CheckState.QUARANTINED, CheckFilter(check_ids=[check_id])) == 1
    again = store.claim(check_id, worker="worker-2", lease=60, max_attempts=5)
    assert again is not None
    store.record(again, examination())


def test_a_newer_event_supersedes_an_older_one_that_waits(
    store: Store, platform: Receiver, deliverer: Deliverer, clock: Clock, run: Sql
) -> None:
    platform.answer = failing(500, times=1)
    check_id = quarantine(store)
    deliver(deliverer)
    finish_again(store, check_id)
    deliver(deliverer)
    clock.advance(86_400)
    deliver(deliverer)
    assert [received.data["state"] for received in platform.received] == ["quarantined", "done"]
    assert [state for state, *_ in run(DELIVERIES)] == ["superseded", "delivered"]


def test_a_newer_event_waits_for_an_older_one_that_is_being_sent(
    store: Store, platform: Receiver, deliverer: Deliverer
) -> None:
    def answer(received: object) -> tuple[int, dict[str, str]]:
        if len(platform.received) == 1:
            finish_again(store, check_id)
            time.sleep(0.6)  # while the newer event is handed to the endpoint
            finished.append(len(platform.received))
        return 204, {}

    finished: list[int] = []
    platform.answer = answer
    check_id = quarantine(store)
    deliver(deliverer)
    deliver(deliverer)
    assert finished == [1]
    assert [received.data["state"] for received in platform.received] == ["quarantined", "done"]
    first, second = platform.received
    assert first.data["sequence"] < second.data["sequence"]


def test_an_older_event_is_not_retried_after_a_newer_one(
    store: Store, callbacks: CallbackStore, platform: Receiver, deliverer: Deliverer, run: Sql
) -> None:
    check_id = quarantine(store)
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
