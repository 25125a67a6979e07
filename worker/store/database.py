"""A pool of connections to one Postgres that answers, or says within its patience why not."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.rows import TupleRow, kwargs_row, scalar_row
from psycopg_pool import ConnectionPool, PoolTimeout

from worker.errors import TransientError
from worker.store import queries
from worker.store.dsn import Dsn
from worker.store.errors import reason, translated, unavailable
from worker.store.locks import AdvisoryLock

Connection = psycopg.Connection[TupleRow]
Row = TypeVar("Row")

SERVER_PATIENCE = 30.0
"""Seconds after which Postgres itself ends a statement, or a transaction whose client went silent."""
_DIAGNOSIS = 2
"""Seconds to spend on finding out why no connection could be had; libpq knows no shorter timeout."""


class Database:
    """Lends connections in autocommit mode and translates what goes wrong on them."""

    def __init__(self, url: str, *, pool_size: int, timeout: float) -> None:
        """Wait at most `timeout` seconds (5 or more) for a connection before raising `TransientError`."""
        self.address = Dsn.of(url)
        self._url = url
        self._check_patience = timeout * 0.15
        self._pool_patience = timeout - _DIAGNOSIS - self._check_patience - 0.5
        self._pool_size = pool_size
        self._pool = ConnectionPool(
            url,
            kwargs=self._parameters(),
            configure=_configure,
            check=self._check,
            min_size=1,
            max_size=pool_size,
            timeout=self._pool_patience,
            # The pool's attempts back off for as long as this, and would still be waiting when Postgres is long back.
            reconnect_timeout=self._pool_patience,
            name="susy-worker",
            open=False,
        )

    def open(self) -> None:
        """Start to connect, without waiting: Postgres may come later. Using the database opens it too."""
        self._pool.open(wait=False)

    def close(self) -> None:
        """Close every connection that is not lent."""
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection from the pool. Each statement commits by itself outside `connection.transaction()`."""
        with translated(self.address), ExitStack() as stack:
            self.open()
            try:
                connection = stack.enter_context(self._pool.connection())
            except PoolTimeout as error:
                raise self._silence() from error
            yield connection

    @contextmanager
    def holding(self, lock: AdvisoryLock) -> Iterator[bool]:
        """Try an advisory lock on a connection of its own; yield whether we have it."""
        with translated(self.address), psycopg.connect(self._url, **self._parameters()) as connection:
            held: bool = scalars(connection, queries.TRY_LOCK, lock._asdict())[0]
            yield held
            # Closing frees the lock as well, and does so after a failure, but a moment later than the next may try it.
            if held:
                connection.execute(queries.UNLOCK, lock._asdict())

    def rows(self, query: str, parameters: Mapping[str, Any], make: Callable[..., Row]) -> list[Row]:
        """Run one statement and make something of each row, by its columns' names."""
        with self.connection() as connection:
            return rows(connection, query, parameters, make)

    def row(self, query: str, parameters: Mapping[str, Any], make: Callable[..., Row]) -> Row | None:
        """Run one statement and make something of its first row, if there is one."""
        return next(iter(self.rows(query, parameters, make)), None)

    def scalars(self, query: str, parameters: Mapping[str, Any]) -> list[Any]:
        """Run one statement; its first column."""
        with self.connection() as connection:
            return scalars(connection, query, parameters)

    def count(self, query: str, parameters: Mapping[str, Any]) -> int:
        """Run one statement and say how many rows it touched."""
        with self.connection() as connection:
            return connection.execute(query, parameters).rowcount

    def _parameters(self) -> dict[str, Any]:
        return {**self.address.defaults(), "autocommit": True}

    def _check(self, connection: Connection) -> None:
        """Make sure that a pooled connection still answers; psycopg's own check waits for a frozen server for ever."""
        deadline = time.monotonic() + self._check_patience
        server = connection.pgconn
        server.send_query(b"SELECT 1")
        poll = select.poll()
        poll.register(server.socket, select.POLLIN)
        while server.is_busy():
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise psycopg.OperationalError(f"no answer within {self._check_patience:.1f} s")
            server.consume_input()
        while server.get_result() is not None:
            pass

    def _silence(self) -> TransientError:
        """Why the pool had no connection: ask Postgres once more, directly."""
        try:
            psycopg.connect(self._url, **{**self._parameters(), "connect_timeout": _DIAGNOSIS}).close()
        except psycopg.Error as error:
            return unavailable(self.address, reason(error))
        return unavailable(self.address, f"no connection of {self._pool_size} came free in {self._pool_patience:.1f} s")


def rows(connection: Connection, query: str, parameters: Mapping[str, Any], make: Callable[..., Row]) -> list[Row]:
    """Run one statement on this connection and make something of each row, by its columns' names."""
    with connection.cursor(row_factory=kwargs_row(make)) as cursor:
        return cursor.execute(query, parameters).fetchall()


def scalars(connection: Connection, query: str, parameters: Mapping[str, Any]) -> list[Any]:
    """Run one statement on this connection; its first column."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query, parameters).fetchall()


def _configure(connection: Connection) -> None:
    connection.execute(queries.CONFIGURE, {"timeout": f"{SERVER_PATIENCE * 1000:.0f}"})
