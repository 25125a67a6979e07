from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.ledger import submission
from tests.support.postgres_proxy import PostgresProxy
from worker.errors import ErrorCode, SetupError, TransientError
from worker.store import Store
from worker.store.migrate import current

SECRET = "hunter2"


@contextmanager
def fails_within(seconds: float) -> Iterator[pytest.ExceptionInfo[TransientError]]:
    start = time.monotonic()
    with pytest.raises(TransientError) as caught:
        yield caught
    assert time.monotonic() - start < seconds
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE


def wait_until_it_answers(store: Store) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return store.ping()
        except TransientError:
            assert time.monotonic() < deadline


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_submitting_while_postgres_is_away_fails_within_ten_seconds_and_says_where_and_why() -> None:
    port = free_port()
    url = f"postgresql://susy:{SECRET}@127.0.0.1:{port}/ledger"
    with Store(url, pool_size=2) as store, fails_within(10) as caught:
        store.submit(submission())
    assert f"127.0.0.1:{port}/ledger" in caught.value.message
    assert "refused" in caught.value.message
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__


def test_a_postgres_that_accepts_and_never_answers_is_away(proxy: PostgresProxy) -> None:
    proxy.frozen.set()
    with Store(proxy.url, pool_size=2) as store, fails_within(10):
        store.submit(submission())


def test_a_postgres_that_freezes_under_open_connections_is_away_and_comes_back(proxy: PostgresProxy) -> None:
    with Store(proxy.url, pool_size=2) as store:
        store.submit(submission())
        proxy.frozen.set()
        with fails_within(10):
            store.submit(submission())
        proxy.frozen.clear()
        wait_until_it_answers(store)


def test_connections_that_broke_meanwhile_are_replaced_unnoticed(proxy: PostgresProxy) -> None:
    with Store(proxy.url, pool_size=2) as store:
        store.ping()
        proxy.cut()
        for _ in range(5):
            store.ping()


def test_a_postgres_that_was_away_for_long_is_used_soon_after_it_is_back(proxy: PostgresProxy) -> None:
    with Store(proxy.url, pool_size=2, timeout=5) as store:
        proxy.refuse(True)
        away_since = time.monotonic()
        while time.monotonic() < away_since + 15:
            with pytest.raises(TransientError):
                store.ping()
        proxy.refuse(False)
        back_since = time.monotonic()
        wait_until_it_answers(store)
        assert time.monotonic() < back_since + 6


def test_a_pool_that_is_too_busy_says_so(database_url: str) -> None:
    with Store(database_url, pool_size=1, timeout=5) as store:
        ready, over = threading.Event(), threading.Event()

        def hog() -> None:
            with store._database.connection():
                ready.set()
                over.wait(20)

        thread = threading.Thread(target=hog)
        thread.start()
        ready.wait(10)
        with fails_within(5) as caught:
            store.ping()
        over.set()
        thread.join()
    assert "all 1 connections of the pool were in use" in caught.value.message


def test_a_table_locked_by_maintenance_is_unavailable_within_ten_seconds(store: Store, database_url: str) -> None:
    def submit() -> tuple[float, str]:
        start = time.monotonic()
        with pytest.raises(TransientError) as caught:
            store.submit(submission())
        assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
        return time.monotonic() - start, caught.value.message

    with psycopg.connect(database_url) as maintenance:
        maintenance.execute("LOCK TABLE susy.checks IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(10) as hooks:  # more than there are connections
            answers = list(hooks.map(lambda _: submit(), range(10)))
    assert max(seconds for seconds, _ in answers) < 10
    assert any("locked" in message for _, message in answers)
    store.submit(submission())


def test_leading_and_migrating_while_postgres_is_away_fail_the_same_way() -> None:
    url = f"postgresql://susy:{SECRET}@127.0.0.1:{free_port()}/ledger"
    with Store(url, pool_size=1) as store, fails_within(10), store.lead():
        pass
    with fails_within(10) as caught:
        current(url)
    assert SECRET not in str(caught.value)


def test_a_store_opens_at_its_first_use_and_stays_closed_once_closed(database_url: str) -> None:
    store = Store(database_url, pool_size=1)
    store.ping()
    store.close()
    with pytest.raises(TransientError):
        store.ping()


def test_an_invalid_url_is_a_setup_error_that_does_not_repeat_it() -> None:
    with pytest.raises(SetupError) as caught:
        Store(f"postgresql://susy:{SECRET}@[half/ledger", pool_size=1)
    assert SECRET not in str(caught.value)


def test_a_user_without_rights_is_told_so(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE " + connection.info.dbname + " SET role = 'susy_dashboard'")
    with Store(database_url, pool_size=1) as limited, pytest.raises(SetupError) as caught:
        limited.submit(submission())
    assert caught.value.code is ErrorCode.SETTINGS
