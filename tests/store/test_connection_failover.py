"""A primary and its streaming standby change places: nothing is written to the wrong one, and work resumes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.ledger import claimed, done, submission
from tests.support.replication import Replicated, replicated
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import eventually
from worker.errors import ConfigurationError, ErrorCode, TransientError
from worker.store import Store
from worker.store.connection import Dsn
from worker.store.migrate import require_current, upgrade

PROMISED = 60.0
"""Seconds within which work resumes, without a restart."""
EXPECTED = 10.0
"""Seconds that it takes here: the pool tries again after one, two and four."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Replicated]:
    with replicated() as servers:
        upgrade(servers.primary.url())
        yield servers


@pytest.fixture
def address(servers: Replicated) -> Iterator[TcpProxy]:
    """An address that leads to the primary until it is moved."""
    proxy = TcpProxy(servers.primary.port)
    yield proxy
    proxy.close()


def url_of(address: TcpProxy) -> str:
    return f"postgresql://postgres@127.0.0.1:{address.port}/postgres"


def both(servers: Replicated, options: str = "") -> str:
    """A URL that names the standby first, so that it is tried first."""
    return f"postgresql://postgres@{servers.standby.address},{servers.primary.address}/postgres{options}"


def seconds_until_it_works(store: Store) -> float:
    start = time.monotonic()
    while time.monotonic() - start < PROMISED:
        with contextlib.suppress(TransientError):
            store.submit(submission())
            return time.monotonic() - start
    raise AssertionError("the store does not work again")


def assert_fails_in_time(store: Store) -> TransientError:
    start = time.monotonic()
    with pytest.raises(TransientError) as caught:
        store.submit(submission())
    assert time.monotonic() - start < 10
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    return caught.value


def test_a_moved_address_is_followed(servers: Replicated, address: TcpProxy) -> None:
    with Store(url_of(address), pool_size=4, timeout=5) as store:
        claim = claimed(store)
        servers.fail_over()
        # The address still leads to the former primary, which is a standby by now.
        assert "127.0.0.1" in assert_fails_in_time(store).message
        with pytest.raises(TransientError):
            store.renew([claim], 60)
        with pytest.raises(TransientError), store.lead():
            pass
        address.move(servers.primary.port)
        assert seconds_until_it_works(store) < EXPECTED
        assert store.renew([claim], 60) == {claim.lease_token}
        with store.lead() as leading:
            assert leading
    with psycopg.connect(servers.standby.url()) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


@pytest.mark.parametrize("options", ["", "?target_session_attrs=read-write", "?target_session_attrs=any"])
def test_a_url_with_several_hosts_finds_the_primary_wherever_it_is(servers: Replicated, options: str) -> None:
    url = both(servers, options)
    require_current(url)
    with Store(url, pool_size=4, timeout=5) as store:
        for _ in range(2):
            done(store)
            with store.lead() as leading:
                assert leading
            servers.fail_over()
            assert seconds_until_it_works(store) < EXPECTED
        upgrade(url)
        servers.fail_over(demote=False)
        assert seconds_until_it_works(store) < EXPECTED
    servers.replace_standby()


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://u:secret@127.0.0.1:1,127.0.0.1:2/ledger", "127.0.0.1:1,127.0.0.1:2/ledger"),
        ("postgresql://u:secret@127.0.0.1,[::1]:2/ledger", "127.0.0.1,::1:2/ledger"),
        ("host=127.0.0.1,::1 port=1 user=u password=secret", "127.0.0.1:1,::1:1/u"),
    ],
)
def test_the_servers_of_a_url_are_all_named_and_its_password_is_not(url: str, named: str) -> None:
    assert Dsn.parse(url).server == named


@pytest.mark.parametrize("wanted", ["standby", "read-only", "prefer-standby"])
def test_a_url_that_asks_for_a_server_to_read_from_is_refused(wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=f"target_session_attrs={wanted}.*use read-write"):
        Store(f"postgresql://localhost/susy?target_session_attrs={wanted}", pool_size=1)


def test_connections_to_a_server_that_becomes_read_only_are_discarded(servers: Replicated) -> None:
    """As an operator does who makes the primary read-only before a planned failover; its connections stay open."""
    with Store(servers.primary.url(), pool_size=4, timeout=5) as store:
        lend_all(store, 4)
        with psycopg.connect(servers.primary.url(), autocommit=True) as operator:
            operator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            operator.execute("SELECT pg_reload_conf()")
            eventually(lambda: operator.execute("SHOW default_transaction_read_only").fetchone() == ("on",))
            assert "read-only" in assert_fails_in_time(store).message
            operator.execute("ALTER SYSTEM RESET default_transaction_read_only")
            operator.execute("SELECT pg_reload_conf()")
        assert seconds_until_it_works(store) < EXPECTED


def test_a_statement_refused_as_read_only_takes_its_connections_along(servers: Replicated) -> None:
    with Store(servers.primary.url(), pool_size=4, timeout=5) as store:
        lend_all(store, 4)
        before = backends(servers)
        with pytest.raises(TransientError) as caught:
            run_on(store, "SET default_transaction_read_only = on", "DELETE FROM susy.checks")
        assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
        store.submit(submission())
        assert not before & backends(servers), "none of the connections from before is left"


def test_connections_that_an_administrator_ends_are_replaced(servers: Replicated) -> None:
    with Store(servers.primary.url(), pool_size=4, timeout=5) as store:
        lend_all(store, 4)
        before = backends(servers)
        with pytest.raises(TransientError):
            run_on(store, "SELECT pg_terminate_backend(pg_backend_pid())")
        store.submit(submission())
        assert not before & backends(servers)


def run_on(store: Store, *statements: str) -> None:
    with store._database.connection() as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]


def lend_all(store: Store, size: int) -> None:
    """Make the pool open all of its connections."""
    together = threading.Barrier(size)

    def hold() -> None:
        with store._database.connection():
            together.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def backends(servers: Replicated) -> set[int]:
    """The process ids of the store's sessions."""
    with psycopg.connect(servers.primary.url()) as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'susy-worker'"
        return {pid for (pid,) in connection.execute(query)}
