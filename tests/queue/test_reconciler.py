"""The reconciler: what it brings back, and in which doses."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
import redis
from psycopg.conninfo import conninfo_to_dict

from schema.messages import Submission
from schema.states import CheckState, Lane
from tests.support.commands import Processes, Susy
from tests.support.databases import Sql, new_database, with_database
from tests.support.ledger import done, submit_all
from tests.support.servers import free_port
from tests.support.waiting import eventually
from worker.errors import SusyError
from worker.queue.dispatcher import BATCH, MIN_DEPTH, LaneDispatcher
from worker.queue.publisher import Publisher
from worker.queue.reconciler import reconcile, reconcile_forever
from worker.settings import Settings
from worker.store import Store


def submit(store: Store, count: int, lane: Lane = Lane.LIVE) -> list[str]:
    submissions = [Submission(source="test", uri=f"/images/{number}.jpg", lane=lane) for number in range(count)]
    return [str(receipt.check_id) for receipt in submit_all(store, submissions)]


def test_a_check_that_was_never_published_is_published_once(
    store: Store, publisher: Publisher, settings: Settings
) -> None:
    submit(store, 3)
    submit(store, 2, Lane.BACKFILL)
    reconcile(store, publisher, settings)
    reconcile(store, publisher, settings)
    assert publisher.depth(Lane.LIVE) == 3
    assert publisher.depth(Lane.BACKFILL) == 2


def test_redis_is_refilled_to_a_bounded_depth(store: Store, publisher: Publisher, settings: Settings) -> None:
    dispatchers = [LaneDispatcher(lane, min_depth=25, batch=10) for lane in Lane]
    submit(store, 60)
    for _ in range(3):
        reconcile(store, publisher, settings, dispatchers)
    assert publisher.depth(Lane.LIVE) == 25


def test_what_a_flush_of_redis_took_is_published_again(
    store: Store, publisher: Publisher, settings: Settings, redis_url: str
) -> None:
    dispatchers = [LaneDispatcher(lane, lost_after=0.2) for lane in Lane]
    submit(store, 4)
    reconcile(store, publisher, settings, dispatchers)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    time.sleep(0.3)
    reconcile(store, publisher, settings, dispatchers)
    assert publisher.depth(Lane.LIVE) == 4


def test_a_dead_workers_check_is_freed_and_published_and_the_exhausted_quarantined(
    store: Store, publisher: Publisher, settings: Settings
) -> None:
    (first,) = (receipt.check_id for receipt in submit_all(store, [Submission(source="t", uri="/a.jpg")]))
    for number in range(1, settings.max_attempts + 1):
        assert store.claim(first, worker="dies", lease=0.05, max_attempts=settings.max_attempts)
        time.sleep(0.1)
        reconcile(store, publisher, settings)
        last = number == settings.max_attempts
        assert store.show(first).state is (CheckState.QUARANTINED if last else CheckState.QUEUED)
    assert publisher.depth(Lane.LIVE) == settings.max_attempts - 1


def test_what_is_too_late_is_ended_in_batches_and_never_published(
    store: Store, publisher: Publisher, settings: Settings
) -> None:
    late = [Submission(source="t", uri="/a.jpg", expires_at="2020-01-01T00:00:00Z") for _ in range(BATCH + 3)]
    ids = [receipt.check_id for receipt in submit_all(store, [*late, Submission(source="t", uri="/b.jpg")])]
    reconcile(store, publisher, settings)
    assert {store.show(check_id).state for check_id in (ids[0], ids[BATCH + 2])} == {CheckState.EXPIRED}
    assert store.status().expired == BATCH + 3
    assert publisher.depth(Lane.LIVE) == 1


def test_what_is_due_is_published_although_events_cannot_be_numbered(
    store: Store, publisher: Publisher, settings: Settings, run: Sql
) -> None:
    done(store)
    submit(store, 3)
    run("DROP SEQUENCE susy.event_positions CASCADE")
    with pytest.raises(SusyError):
        reconcile(store, publisher, settings)
    assert run("SELECT count(*) FROM susy.checks WHERE state = 'queued' AND dispatched_at IS NULL") == [(0,)]


def test_a_lane_is_fed_as_it_drains_and_not_only_once_a_round(
    store: Store, publisher: Publisher, settings: Settings, redis_url: str
) -> None:
    seldom = settings.model_copy(update={"reconcile_interval": 60.0})
    stop = threading.Event()
    thread = threading.Thread(target=reconcile_forever, args=(store, publisher, seldom, stop))
    thread.start()
    try:
        eventually(lambda: publisher.depth(Lane.LIVE) == 0)
        submit(store, 3 * MIN_DEPTH)
        with redis.Redis.from_url(redis_url) as client:
            for _ in range(3):
                eventually(lambda: publisher.depth(Lane.LIVE) >= MIN_DEPTH)
                client.rpop(f"{settings.key_prefix}live", MIN_DEPTH)
    finally:
        stop.set()
        thread.join()


def test_of_two_reconcilers_one_leads_and_the_other_takes_over(
    store: Store, publisher: Publisher, settings: Settings, database_url: str
) -> None:
    stops = [threading.Event(), threading.Event()]
    stores = [Store(database_url, pool_size=2), Store(database_url, pool_size=2)]
    threads = [
        threading.Thread(target=reconcile_forever, args=(one, publisher, settings, stop))
        for one, stop in zip(stores, stops, strict=True)
    ]
    for one, thread in zip(stores, threads, strict=True):
        one.open()
        thread.start()
    try:
        submit(store, 5)
        eventually(lambda: publisher.depth(Lane.LIVE) == 5)
        stops[0].set()
        threads[0].join()
        submit(store, 5)
        eventually(lambda: publisher.depth(Lane.LIVE) == 10)
        time.sleep(1)
        assert publisher.depth(Lane.LIVE) == 10
    finally:
        for stop, thread, one in zip(stops, threads, stores, strict=True):
            stop.set()
            thread.join()
            one.close()


def test_what_nobody_foresaw_is_reported_once_and_tried_again(
    store: Store, publisher: Publisher, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(Publisher):
        faults = 3

        def depth(self, lane: Lane) -> int:
            if self.faults:
                self.faults -= 1
                raise RuntimeError("nobody foresaw this")
            return super().depth(lane)

    stop = threading.Event()
    with Faulty(settings) as faulty:
        submit(store, 2)
        thread = threading.Thread(target=reconcile_forever, args=(store, faulty, settings, stop))
        thread.start()
        try:
            eventually(lambda: publisher.depth(Lane.LIVE) == 2, 30)
        finally:
            stop.set()
            thread.join()
    assert sum("nobody foresaw this" in str(record.__dict__) for record in caplog.records) == 1


@pytest.fixture
def unusable_urls(postgres_url: str, empty_database_url: str) -> Iterator[dict[str, str]]:
    with new_database(postgres_url) as url:
        name = conninfo_to_dict(url)["dbname"]
        with psycopg.connect(postgres_url, autocommit=True) as server:
            server.execute(f"DROP DATABASE {name}")  # type: ignore[arg-type]
            server.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")  # type: ignore[arg-type]
        yield {"without a ledger": empty_database_url, "not UTF-8": with_database(postgres_url, str(name))}


@pytest.mark.parametrize(("what", "said"), [("without a ledger", "run `susy db upgrade`"), ("not UTF-8", "needs UTF8")])
def test_a_database_that_waiting_does_not_make_usable_ends_it_with_2(
    susy: Susy, settings: Settings, unusable_urls: dict[str, str], what: str, said: str
) -> None:
    result = susy("reconciler", **settings.environment() | {"SUSY_DATABASE_URL": unusable_urls[what]})
    assert result.code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUSY_DATABASE_URL", ""),
        ("SUSY_DATABASE_URL", "nonsense"),
        ("SUSY_REDIS_URL", ""),
        ("SUSY_REDIS_URL", "http://localhost"),
        ("SUSY_RECONCILE_INTERVAL", "-1"),
        ("SUSY_KEY_PREFIX", "prüfung:"),
    ],
)
def test_a_wrong_setting_ends_it_with_2(susy: Susy, settings: Settings, name: str, value: str) -> None:
    result = susy("reconciler", **settings.environment() | {name: value})
    assert result.code == 2
    assert name in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_when_it_is_told_to(processes: Processes, store: Store, number: signal.Signals) -> None:
    nowhere = f"postgresql://127.0.0.1:{free_port()}/susy"
    [check_id] = submit(store, 1)
    leading, waiting = processes.start_reconciler(), processes.start_reconciler(SUSY_DATABASE_URL=nowhere)
    waiting.eventually(lambda: "service_unavailable" in waiting.output())
    dispatched = "SELECT dispatched_at IS NOT NULL FROM susy.checks WHERE id = %(id)s"
    leading.eventually(lambda: store._database.scalars(dispatched, {"id": check_id}) == [True])
    for process in (leading, waiting):
        process.send_signal(number)
    assert (leading.wait(20), waiting.wait(20)) == (0, 0), processes.output()
    assert waiting.output().count("\n") == 1, "one line, however long it waits"
