"""A pool of connections to one Postgres. Every wait has a timeout; every driver error is translated."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.rows import TupleRow, kwargs_row, scalar_row
from psycopg_pool import ConnectionPool, PoolTimeout

from worker.errors import TransientError
from worker.store import queries
from worker.store.dsn import Dsn
from worker.store.errors import reason, translate_errors, unavailable

Connection = psycopg.Connection[TupleRow]
Row = TypeVar("Row")

STATEMENT_TIMEOUT = 30.0
"""Seconds after which Postgres ends a statement, or a transaction whose client stopped sending."""
_DIAGNOSIS_TIMEOUT = 2
"""Seconds to spend on finding out why no connection was available; libpq has no shorter timeout."""


class AdvisoryLock(NamedTuple):
    """A lock that Postgres keeps for the database and frees with the connection, named by two 32-bit numbers."""

    space: int
    key: int


_SPACE = int.from_bytes(b"susy")
"""Keeps these locks apart from those of other programs in the same database."""
LEADER_LOCK = AdvisoryLock(_SPACE, 1)
"""Held by the leading reconciler."""
MIGRATION_LOCK = AdvisoryLock(_SPACE, 2)
"""Held while migrations run."""


class Database:
    """Lends connections in autocommit mode: outside `connection.transaction()` each statement commits by itself."""

    def __init__(self, url: str, *, pool_size: int, timeout: float) -> None:
        """Wait at most `timeout` seconds (5 or more) for a connection before raising `TransientError`."""
        self.dsn = Dsn.parse(url)
        self._url = url
        self._check_timeout = timeout * 0.15
        self._pool_timeout = timeout - _DIAGNOSIS_TIMEOUT - self._check_timeout - 0.5
        self._pool_size = pool_size
        self._pool = ConnectionPool(
            url,
            kwargs=self._parameters(),
            configure=_configure,
            check=self._check,
            min_size=1,
            max_size=pool_size,
            timeout=self._pool_timeout,
            # The pool backs off for up to this long between attempts; a longer time would delay the recovery.
            reconnect_timeout=self._pool_timeout,
            name="susy-worker",
            open=False,
        )

    def open(self) -> None:
        """Start to connect, without waiting: Postgres may come up later. The first use opens the pool as well."""
        self._pool.open(wait=False)

    def close(self) -> None:
        """Close every connection that is not lent."""
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection from the pool."""
        with translate_errors(self.dsn), ExitStack() as stack:
            self.open()
            try:
                connection = stack.enter_context(self._pool.connection())
            except PoolTimeout as error:
                raise self._diagnosis() from error
            yield connection

    @contextmanager
    def try_lock(self, lock: AdvisoryLock) -> Iterator[bool]:
        """Try to take an advisory lock on a connection of its own; yields whether it is held."""
        with translate_errors(self.dsn), psycopg.connect(self._url, **self._parameters()) as connection:
            held: bool = scalars(connection, queries.TRY_LOCK, lock._asdict())[0]
            yield held
            # Closing the connection frees the lock too, but a moment later than another session may try it.
            if held:
                connection.execute(queries.UNLOCK, lock._asdict())

    def rows(self, query: str, parameters: Mapping[str, Any], make: Callable[..., Row]) -> list[Row]:
        """Run one statement; `make` is called for each row with its columns as keyword arguments."""
        with self.connection() as connection:
            return rows(connection, query, parameters, make)

    def row(self, query: str, parameters: Mapping[str, Any], make: Callable[..., Row]) -> Row | None:
        """The first of `rows`; None when there is none."""
        return next(iter(self.rows(query, parameters, make)), None)

    def scalars(self, query: str, parameters: Mapping[str, Any]) -> list[Any]:
        """Run one statement; its first column."""
        with self.connection() as connection:
            return scalars(connection, query, parameters)

    def execute(self, query: str, parameters: Mapping[str, Any]) -> int:
        """Run one statement; how many rows it affected."""
        with self.connection() as connection:
            return connection.execute(query, parameters).rowcount

    def _parameters(self) -> dict[str, Any]:
        return {**self.dsn.defaults(), "autocommit": True}

    def _check(self, connection: Connection) -> None:
        """Raise unless a pooled connection answers. psycopg's own check would wait for a frozen server forever."""
        deadline = time.monotonic() + self._check_timeout
        server = connection.pgconn
        server.send_query(b"SELECT 1")
        poll = select.poll()
        poll.register(server.socket, select.POLLIN)
        while server.is_busy():
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise psycopg.OperationalError(f"no answer within {self._check_timeout:.1f} s")
            server.consume_input()
        while server.get_result() is not None:
            pass

    def _diagnosis(self) -> TransientError:
        """Why the pool had no connection: try to connect once more, directly."""
        try:
            psycopg.connect(self._url, **{**self._parameters(), "connect_timeout": _DIAGNOSIS_TIMEOUT}).close()
        except psycopg.Error as error:
            return unavailable(self.dsn, reason(error))
        return unavailable(
            self.dsn, f"all {self._pool_size} connections of the pool were in use for {self._pool_timeout:.1f} s"
        )


def rows(connection: Connection, query: str, parameters: Mapping[str, Any], make: Callable[..., Row]) -> list[Row]:
    """Run one statement on this connection; `make` is called for each row with its columns as keyword arguments."""
    with connection.cursor(row_factory=kwargs_row(make)) as cursor:
        return cursor.execute(query, parameters).fetchall()


def scalars(connection: Connection, query: str, parameters: Mapping[str, Any]) -> list[Any]:
    """Run one statement on this connection; its first column."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query, parameters).fetchall()


def _configure(connection: Connection) -> None:
    connection.execute(queries.CONFIGURE, {"timeout": f"{STATEMENT_TIMEOUT * 1000:.0f}"})
