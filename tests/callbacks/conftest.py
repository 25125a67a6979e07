"""A receiver, an endpoint that leads to it, and a deliverer that a test runs until nothing is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from schema.states import KeyKind
from tests.support.ledger import claimed
from tests.support.receiver import Receiver
from tests.support.receiver import receiver as running_receiver
from worker.callbacks.deliver import Deliverer
from worker.callbacks.signing import SigningKey
from worker.errors import ErrorCode
from worker.settings import Settings, load_settings
from worker.store import Store
from worker.store.callbacks import CallbackStore


class Clock:
    """How far the clock of callbacks is ahead of the real one."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def callbacks(database_url: str, clock: Clock) -> Iterator[CallbackStore]:
    with CallbackStore(database_url, pool_size=4, ahead=clock) as callbacks:
        yield callbacks


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture
def settings(database_url: str) -> Settings:
    return load_settings(database_url=database_url, callback_timeout=10.0, public_url="https://susy.example/")


AddEndpoint = Callable[..., Receiver]


@pytest.fixture
def add_endpoint(callbacks: CallbackStore) -> Iterator[AddEndpoint]:
    """Registers a receiver of its own under a name; by default for the source `avatars`."""
    started: list[Receiver] = []

    def add(name: str = "platform", *, sources: tuple[str, ...] = ("avatars",), url: str | None = None) -> Receiver:
        running = Receiver()
        started.append(running)
        key = SigningKey.new(KeyKind.HMAC)
        running.secret = key.shared
        callbacks.add_endpoint(
            name=name,
            url=url or running.url,
            sources=sources,
            allow_private=True,
            kind=key.kind,
            secret=key.secret,
        )
        return running

    yield add
    for running in started:
        running.close()


@pytest.fixture
def platform(add_endpoint: AddEndpoint) -> Receiver:
    """The receiver of the endpoint `platform`, which gets the checks of `avatars`."""
    return add_endpoint()


@pytest.fixture
def deliverer(callbacks: CallbackStore, settings: Settings) -> Iterator[Deliverer]:
    deliverer = Deliverer(callbacks, settings)
    yield deliverer
    deliverer.close()


def deliver(deliverer: Deliverer, seconds: float = 20.0) -> None:
    """Let it work until nothing is due and nothing is in flight."""
    until = time.monotonic() + seconds
    deliverer._refreshed_at = float("-inf")
    calm = 0
    while calm < 2:
        assert time.monotonic() < until, "deliveries do not end"
        is_busy = deliverer.round() or any(sender.in_flight for sender in deliverer._senders.values())
        calm = 0 if is_busy else calm + 1
        time.sleep(0.005 if is_busy else 0.0)


__all__ = ["AddEndpoint", "Clock", "Store", "deliver"]


def failing(status: int, *, times: int = 10**9, **headers: str):  # type: ignore[no-untyped-def]
    """A receiver's answer: so many times this status, then 204."""
    left = [times]

    def answer(_received: object) -> tuple[int, dict[str, str]]:
        left[0] -= 1
        return (
            (status, {name.replace("_", "-"): value for name, value in headers.items()}) if left[0] >= 0 else (204, {})
        )

    return answer


def quarantine(store: Store) -> UUID:
    """A check that has ended in quarantine."""
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.CORRUPT, message="a JPEG without a header", retry_in=None)
    return claim.check_id
