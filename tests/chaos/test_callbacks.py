"""Callbacks whose deliverers are killed, whose receivers fail, and whose Postgres restarts: at least once, in order.

The checks are ended by threads that record verdicts, as workers do; deliverers are processes, and the receiver is a
real HTTP server that verifies every callback.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest

from schema.states import CheckState, KeyKind
from tests.chaos.deployment import enough, inherited
from tests.chaos.report import CALLBACKS, CallbackOutcome
from tests.support.commands import Forked, Process
from tests.support.forks import ForkServer
from tests.support.ledger import SCAN, VERDICT, examination, submission
from tests.support.receiver import RESET, Received, Receiver, receiver
from tests.support.servers import Postgres
from tests.support.waiting import eventually
from worker.callbacks.signing import SigningKey
from worker.errors import ErrorCode, TransientError
from worker.store import CheckFilter, Store
from worker.store.callbacks import CallbackStore

Answer = TypeVar("Answer")

TIMEOUT = 1.0
"""Seconds for one callback; a lease lasts 12 s."""
SCHEDULE = 0.02
"""Of the real schedule: 0.1 s, 6 s, 36 s, …"""


@dataclass
class Platform:
    """A receiver, the checks that it must hear of, and the deliverers that call it."""

    folder: Path
    forks: ForkServer
    database_url: str
    receiver: Receiver
    case: str
    expected: dict[UUID, tuple[str, float]] = field(default_factory=dict)
    """The last state of each check, and its score."""
    started: list[Process] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def deliverer(self, **variables: str) -> Process:
        given = {
            "SUSY_DATABASE_URL": self.database_url,
            "SUSY_CALLBACK_TIMEOUT": str(TIMEOUT),
            "SUSY_LOG_FORMAT": "json",
            "CHAOS_SCHEDULE": str(SCHEDULE),
        }
        process = Forked(
            self.forks,
            ("tests.chaos.worker", "run_deliver"),
            folder=self.folder,
            log=self.folder / f"{len(self.started)}-deliver.log",
            environment=inherited(**given | variables),
        )
        self.started.append(process)
        return process

    def end(self, count: int, *, threads: int = 2) -> None:
        """End so many checks; every tenth is quarantined first, and done after it was queued again."""
        with Store(self.database_url, pool_size=threads + 1) as store, ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda _: self._end(store, next(self._numbers)), range(count)):
                pass

    def end_until(self, happened: Callable[[], bool], at_least: int, *, threads: int = 2) -> None:
        """End so many checks, and more until a fault has happened, however fast they are delivered."""
        self.end(at_least, threads=threads)
        until = time.monotonic() + 60
        while not happened():
            assert time.monotonic() < until, self._logs()
            self.end(10, threads=threads)
            time.sleep(0.2)

    def _end(self, store: Store, number: int) -> None:
        score = random.random()
        sent = submission(source="chaos", external_id=f"upload-{number}", attributes={"number": number})
        check_id = _persistently(lambda: store.submit(sent)).check_id
        if number % 10 == 0:
            self._quarantine(store, check_id)
        self._finish(store, check_id, number, score)
        with self._lock:
            self.expected[check_id] = "done", score

    def _quarantine(self, store: Store, check_id: UUID) -> None:
        while store_state(store, check_id) is not CheckState.QUARANTINED:
            claim = _persistently(lambda: store.claim(check_id, worker="w", lease=3.0, max_attempts=99))
            if claim is None:
                time.sleep(0.2)
                continue
            _persistently(lambda c=claim: store.fail(c, code=ErrorCode.CORRUPT, message="no header", retry_in=None))
        where = CheckFilter(check_ids=[check_id])
        _persistently(lambda: store.requeue(CheckState.QUARANTINED, where))

    def _finish(self, store: Store, check_id: UUID, number: int, score: float) -> None:
        outcome = examination(replace(SCAN, content_sha256=f"{number:064x}"), replace(VERDICT, score=score))
        while store_state(store, check_id) is not CheckState.DONE:
            claim = _persistently(lambda: store.claim(check_id, worker="w", lease=3.0, max_attempts=99))
            if claim is None:
                time.sleep(0.2)
                continue
            _persistently(lambda c=claim: store.record(c, outcome))

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(query)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def verify(self, seconds: float = 240.0) -> CallbackOutcome:
        """Every end has arrived, verified, with its own body, the same for the same id, and never after a newer one."""
        unsettled = (
            "SELECT count(*) FROM susy.events AS e LEFT JOIN susy.deliveries AS d ON d.event_id = e.id"
            " WHERE d.state IS NULL OR d.state = 'pending'"
        )
        eventually(lambda: self.sql(unsettled) == [(0,)], seconds, self._logs)
        accepted = [received for received in self.receiver.received if received.status < 300]
        by_check: defaultdict[UUID, list[Received]] = defaultdict(list)
        bodies: defaultdict[str, set[bytes]] = defaultdict(set)
        for received in self.receiver.received:
            bodies[received.id].add(received.body)
        for received in accepted:
            by_check[UUID(received.data["check_id"])].append(received)
        lost = [check for check in self.expected if not by_check[check] or by_check[check][-1].data["state"] != "done"]
        outcome = CallbackOutcome(
            case=self.case,
            checks=len(self.expected),
            events=self.sql("SELECT count(*) FROM susy.events")[0][0],
            requests=len(self.receiver.received),
            delivered=len({received.id for received in accepted}),
            repeated=len(accepted) - len({received.id for received in accepted}),
            superseded=self.sql("SELECT count(*) FROM susy.deliveries WHERE state = 'superseded'")[0][0],
            lost=len(lost) + self.sql("SELECT count(*) FROM susy.deliveries WHERE state = 'failed'")[0][0],
            foreign=sum(self._is_foreign(received) for received in self.receiver.received),
            changed=sum(len(sent) > 1 for sent in bodies.values()),
            unverified=sum(not received.is_verified for received in self.receiver.received),
            overtaken=sum(_is_overtaken(received) for received in by_check.values()),
            seconds=time.monotonic() - self.began,
        )
        CALLBACKS.append(outcome)
        assert outcome.holds, f"{outcome}\n{self._logs()}"
        return outcome

    def _is_foreign(self, received: Received) -> bool:
        """Whether a body is that of another check than its id, or describes another one's verdict."""
        data = received.data
        check_id = UUID(data["check_id"])
        _, score = self.expected[check_id]
        return not (
            received.id == f"evt_{check_id.hex}_{data['sequence']}"
            and data["external_id"] == f"upload-{data['attributes']['number']}"
            and (data["state"] == "quarantined" or data["score"] == score)
        )

    def _logs(self) -> str:
        states = self.sql(
            "SELECT state, attempts, status, error_code, count(*) FROM susy.deliveries GROUP BY 1, 2, 3, 4"
        )
        return f"{states}\n" + "\n".join(f"--- {p.log.name}\n{p.output()[-3000:]}" for p in self.started)

    def close(self) -> None:
        for process in self.started:
            process.send_signal(signal.SIGKILL)
        for process in self.started:
            process.wait()


def _is_overtaken(received: list[Received]) -> bool:
    sequences = [one.data["sequence"] for one in received]
    return sequences != sorted(sequences)


def store_state(store: Store, check_id: UUID) -> CheckState:
    return _persistently(lambda: store.show(check_id)).state


def _persistently(call: Callable[[], Answer]) -> Answer:
    """The call's answer, as soon as Postgres gives one."""
    until = time.monotonic() + 60
    while True:
        try:
            return call()
        except TransientError:
            assert time.monotonic() < until
            time.sleep(0.1)


@pytest.fixture
def platform(
    chaos_database: str, forks: ForkServer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Platform]:
    case = request.node.name.removeprefix("test_").replace("_", " ")
    with receiver() as running, CallbackStore(chaos_database, pool_size=1) as store:
        key = SigningKey.new(KeyKind.HMAC)
        running.secret = key.shared
        store.add_endpoint(
            name="platform",
            url=running.url,
            sources=["chaos"],
            allow_private=True,
            kind=key.kind,
            secret=key.secret,
        )
        platform = Platform(tmp_path, forks, chaos_database, running, case)
        yield platform
        platform.close()


class Deliverers:
    """Keeps `count` deliverers alive, as an orchestrator does."""

    def __init__(self, platform: Platform, count: int, **variables: str) -> None:
        self._platform = platform
        self._stopped = threading.Event()
        self.running = [platform.deliverer(**variables) for _ in range(count)]
        self.kills = 0
        self._thread = threading.Thread(target=self._supervise)
        self._thread.start()

    def __enter__(self) -> Deliverers:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopped.set()
        self._thread.join()

    def kill_one(self) -> None:
        random.choice(self.running).send_signal(signal.SIGKILL)
        self.kills += 1

    def _supervise(self) -> None:
        while not self._stopped.wait(0.1):
            for place, process in enumerate(self.running):
                if process.poll() is not None:
                    self.running[place] = self._platform.deliverer()


def test_a_deliverer_that_is_killed_before_the_answer_sends_the_same_callback_again(platform: Platform) -> None:
    first = platform.deliverer()

    def answer(_received: Received) -> tuple[int, dict[str, str]]:
        if not killed:
            killed.append(first.pid)
            os.kill(first.pid, signal.SIGKILL)
            time.sleep(0.2)
        return 204, {}

    killed: list[int] = []
    platform.receiver.answer = answer
    platform.end(20)
    eventually(lambda: killed, 30, platform._logs)
    platform.deliverer()
    outcome = platform.verify()
    assert outcome.repeated >= 1


@pytest.mark.parametrize("at", ["taken", "answered", "recorded"])
def test_a_deliverer_that_is_killed(platform: Platform, at: str) -> None:
    with Deliverers(platform, 1, CHAOS_AT=at, CHAOS_AFTER="2"):
        platform.end_until(lambda: len(platform.started) > 1, 60)
        outcome = platform.verify()
    if at == "answered":
        assert outcome.repeated > 0


def test_a_receiver_that_fails_resets_and_hangs_gets_everything_in_the_end(platform: Platform) -> None:
    faults = random.Random(1)

    def answer(_received: Received) -> tuple[int, dict[str, str]]:
        match faults.random():
            case fault if fault < 0.05:
                return 500, {}
            case fault if fault < 0.08:
                return RESET, {}
            case fault if fault < 0.10:
                time.sleep(TIMEOUT * 2)
                return 500, {}
            case fault if fault < 0.12:
                return 503, {"retry-after": "1"}
        return 204, {}

    platform.receiver.answer = answer
    with Deliverers(platform, 2):
        platform.end(enough(500))
        platform.verify()


def test_postgres_restarts_and_deliverers_are_killed_under_load(platform: Platform, postgres: Postgres) -> None:
    total = enough(2000)
    with Deliverers(platform, 2) as deliverers:
        stopped = threading.Event()

        def hurt() -> None:
            for number in itertools.count():
                if stopped.wait(3.0):
                    return
                if number % 3 == 1:
                    postgres.restart("immediate" if number % 2 else "fast")
                else:
                    deliverers.kill_one()

        hurting = threading.Thread(target=hurt)
        hurting.start()
        try:
            platform.end_until(lambda: deliverers.kills >= 2, total, threads=4)
        finally:
            stopped.set()
            hurting.join()
        outcome = platform.verify()
    assert outcome.delivered >= total
