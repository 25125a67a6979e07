from __future__ import annotations

import pytest

from tests.callbacks.conftest import deliver
from tests.support.databases import Sql
from tests.support.ledger import done
from tests.support.receiver import Receiver
from worker.callbacks.deliver import Deliverer
from worker.callbacks.health import OVERDUE_AFTER, check_deliver
from worker.errors import UnhealthyError
from worker.settings import Settings
from worker.store import Store
from worker.store.callbacks import CallbackStore

EARLIER = f"next_attempt_at = now() - interval '{OVERDUE_AFTER + 30} s'"


def test_a_callback_that_no_deliverer_takes_is_noticed(
    store: Store, callbacks: CallbackStore, settings: Settings, platform: Receiver, deliverer: Deliverer, run: Sql
) -> None:
    check_deliver(settings)
    done(store)
    callbacks.number_events()
    check_deliver(settings)
    run(f"UPDATE susy.deliveries SET {EARLIER}")
    with pytest.raises(UnhealthyError, match="150 s"):
        check_deliver(settings)
    deliver(deliverer)
    check_deliver(settings)


@pytest.mark.parametrize(
    "excuse",
    [
        "UPDATE susy.endpoints SET disabled_at = now(), disabled_reason = 'moving'",
        "UPDATE susy.endpoints SET failures = 9, open_until = now() + interval '1 min'",
        "UPDATE susy.endpoints SET failures = 9, open_until = now() - interval '1 s'",
        "UPDATE susy.deliveries SET lease_token = gen_random_uuid(), lease_until = now() + interval '1 min'",
        "UPDATE susy.deliveries SET next_attempt_at = now() + interval '1 h'",
    ],
)
def test_what_waits_for_a_reason_is_not_overdue(
    store: Store, callbacks: CallbackStore, settings: Settings, platform: Receiver, run: Sql, excuse: str
) -> None:
    done(store)
    callbacks.number_events()
    run(f"UPDATE susy.deliveries SET {EARLIER}")
    run(excuse)
    check_deliver(settings)
