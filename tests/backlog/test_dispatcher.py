"""Whose turn it is, and how much of it is in Redis."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
import redis

from schema.states import CheckState, Lane
from tests.backlog.conftest import FILL, Sql
from tests.support.ledger import backfill, submission, submit_all
from worker.queue import dispatcher
from worker.queue.dispatcher import MAX_DEPTH, MIN_DEPTH, LaneDispatcher
from worker.queue.publisher import DIRECT_DEPTH, Publisher, submit_check
from worker.settings import Settings
from worker.store import Store

Take = Callable[[Lane, int], list[UUID]]


@pytest.fixture
def take(settings: Settings, redis_url: str) -> Take:
    """Take messages off a lane's queue, as workers do, oldest first."""

    def take(lane: Lane, count: int) -> list[UUID]:
        with redis.Redis.from_url(redis_url) as client:
            messages = client.rpop(f"{settings.key_prefix}{lane}", count) or []
        bodies = (json.loads(base64.b64decode(json.loads(message)["body"])) for message in messages)
        return [UUID(body[0][0]) for body in bodies]

    return take


def test_a_sources_flood_does_not_stand_before_anothers_checks(
    store: Store, run: Sql, publisher: Publisher, take: Take
) -> None:
    run(FILL, "flood", "live", 5000)
    few = [store.submit(submission(source=f"hook-{n % 2}")).check_id for n in range(10)]
    LaneDispatcher(Lane.LIVE).refill(store, publisher)
    taken = take(Lane.LIVE, 15)
    assert [check_id for check_id in taken if check_id in few] == few, "one of each source in turn, oldest first"


@pytest.fixture
def watchful(settings: Settings) -> Iterator[Publisher]:
    """A publisher that reads the depth for every submission."""
    with Publisher(settings, depth_max_age=0.0) as publisher:
        yield publisher


def test_a_flood_that_goes_on_does_not_starve_what_waits(store: Store, watchful: Publisher, take: Take) -> None:
    publisher, fed = watchful, LaneDispatcher(Lane.LIVE)

    def flood() -> None:
        for _ in range(40):
            submit_check(submission(source="flood"), store, publisher)

    flood()
    other = submit_check(submission(source="other"), store, publisher).check_id
    assert publisher.depth(Lane.LIVE) == DIRECT_DEPTH, "the rest waits in the ledger, the other one's check too"
    taken: list[UUID] = []
    for _ in range(4):
        fed.refill(store, publisher)
        flood()
        taken += take(Lane.LIVE, MIN_DEPTH // 2)
        flood()
    assert other in taken[: 2 * MIN_DEPTH]


def test_a_check_is_published_at_once_while_few_wait(store: Store, publisher: Publisher, take: Take) -> None:
    first = submit_check(submission(), store, publisher).check_id
    assert store.show(first).dispatched_at is not None
    assert take(Lane.LIVE, 10) == [first]


def test_the_depth_is_not_looked_at_for_every_submission(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Lane] = []
    with Publisher(settings, depth_max_age=60.0) as publisher:
        depth = publisher.depth
        monkeypatch.setattr(publisher, "depth", lambda lane: (looks.append(lane), depth(lane))[1])
        for _ in range(50):
            submit_check(submission(), store, publisher)
        assert looks == [Lane.LIVE]
        assert depth(Lane.LIVE) == DIRECT_DEPTH, "its own messages are counted meanwhile"


def test_after_a_flush_with_100000_checks_queued_redis_is_filled_to_its_bound_and_no_further(
    store: Store, run: Sql, publisher: Publisher, redis_url: str
) -> None:
    run(FILL, "flood", "backfill", 100_000)
    fed = LaneDispatcher(Lane.BACKFILL)
    fed.refill(store, publisher)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    for _ in range(3):
        fed.refill(store, publisher)
        assert MIN_DEPTH <= publisher.depth(Lane.BACKFILL) <= 2 * MIN_DEPTH
    [(dispatched,)] = run("SELECT count(*) FROM susy.checks WHERE dispatched_at IS NOT NULL")
    assert dispatched <= 4 * MIN_DEPTH


def test_what_a_flush_took_comes_back_though_the_queue_is_never_empty_again(
    store: Store, run: Sql, publisher: Publisher, redis_url: str, take: Take
) -> None:
    run(FILL, "flood", "backfill", 1000)
    fed = LaneDispatcher(Lane.BACKFILL, lost_after=0.3)
    fed.refill(store, publisher)
    lost = {check_id for (check_id,) in run("SELECT id FROM susy.checks WHERE dispatched_at IS NOT NULL")}
    assert len(lost) == MIN_DEPTH
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    fed.refill(store, publisher)  # sees it empty, and fills it with others
    time.sleep(0.4)
    back: set[UUID] = set()
    for _ in range(2):
        fed.refill(store, publisher)
        back.update(take(Lane.BACKFILL, MAX_DEPTH))
    assert lost <= back


def test_a_message_that_a_dead_worker_had_taken_comes_back_though_the_queue_is_never_empty(
    store: Store, run: Sql, publisher: Publisher, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "PUBLISHED_WITHIN", 0.0)
    run(FILL, "flood", "live", 1000)
    fed = LaneDispatcher(Lane.LIVE, lost_after=0.3)
    fed.refill(store, publisher)
    lost = take(Lane.LIVE, MIN_DEPTH // 2)
    back: list[UUID] = []
    deadline = time.monotonic() + 10
    while not set(lost) <= set(back) and time.monotonic() < deadline:
        fed.refill(store, publisher)
        assert publisher.depth(Lane.LIVE) > 0, "never seen empty"
        for check_id in take(Lane.LIVE, 8):
            back.append(check_id)
            store.claim(check_id, worker="w", lease=60, max_attempts=5)
        time.sleep(0.05)
    assert set(lost) <= set(back)
    assert len(back) == len(set(back)), "what waited in the queue meanwhile was not sent twice"


@pytest.mark.parametrize("item", ["garbage", "ended"])
def test_nothing_counts_as_lost_by_a_message_that_says_nothing_of_the_queue(
    store: Store, publisher: Publisher, redis_url: str, settings: Settings, run: Sql, item: str
) -> None:
    submit_all(store, (backfill() for _ in range(3)))
    fed = LaneDispatcher(Lane.BACKFILL, lost_after=0.05)
    fed.refill(store, publisher)
    with redis.Redis.from_url(redis_url) as client:
        if item == "garbage":
            client.rpush(f"{settings.key_prefix}backfill", "garbage")
        else:
            run("UPDATE susy.checks SET state = 'cancelled', finished_at = now(), dispatched_at = NULL")
    for _ in range(3):
        fed.refill(store, publisher)
        time.sleep(0.06)
    [(waiting,)] = run("SELECT count(*) FROM susy.checks WHERE state = 'queued' AND dispatched_at IS NULL")
    assert waiting == 0


def test_fast_workers_find_more_and_slow_ones_less(store: Store, run: Sql, publisher: Publisher, take: Take) -> None:
    run(FILL, "flood", "backfill", 3 * MAX_DEPTH)
    fed = LaneDispatcher(Lane.BACKFILL)
    depths = []
    for _ in range(7):
        fed.refill(store, publisher)
        depths.append(publisher.depth(Lane.BACKFILL))
        take(Lane.BACKFILL, MAX_DEPTH)
    assert depths == [min(MIN_DEPTH * 2**n, MAX_DEPTH) for n in range(7)]
    for _ in range(6):
        fed.refill(store, publisher)
        fed.refill(store, publisher)
        take(Lane.BACKFILL, 1)
    take(Lane.BACKFILL, MAX_DEPTH)
    fed.refill(store, publisher)
    assert publisher.depth(Lane.BACKFILL) <= 2 * MIN_DEPTH


def test_a_lane_that_is_short_leaves_room_for_direct_publishing(store: Store, publisher: Publisher) -> None:
    assert DIRECT_DEPTH < MIN_DEPTH
    submit_all(store, (backfill() for _ in range(3)))
    fed = LaneDispatcher(Lane.BACKFILL)
    fed.refill(store, publisher)
    assert publisher.room(Lane.BACKFILL)


@pytest.mark.usefixtures("take")
def test_what_is_cancelled_on_its_way_is_never_looked_at(store: Store, publisher: Publisher) -> None:
    from worker.store import CheckFilter

    check_id = submit_check(submission(), store, publisher).check_id
    assert store.cancel(CheckFilter(check_ids=[check_id])) == 1
    assert store.claim(check_id, worker="worker-1", lease=60, max_attempts=5) is None
    assert store.show(check_id).state is CheckState.CANCELLED
