"""A pool of connections to one Postgres. Every wait has a timeout; every driver error is translated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, Self, TypeVar

import psycopg
from psycopg.rows import args_row, kwargs_row, scalar_row
from psycopg_pool import ConnectionPool, PoolTimeout

from worker.errors import SusyError
from worker.store import queries
from worker.store.connection import (
    Connection,
    Dsn,
    Plans,
    ReadOnlyServerError,
    Timeouts,
    check,
    configured,
    connect,
    has_answered,
)
from worker.store.errors import translate, translate_errors, unavailable

Row = TypeVar("Row")


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
EVENTS_LOCK = AdvisoryLock(_SPACE, 3)
"""Held, by a transaction, while events get their positions."""


PATIENT = math.inf
"""For calls that may take as long as their statements do: until `STATEMENT_TIMEOUT`."""
CLOSE_TIMEOUT = 1.0
"""Seconds to wait, when the pool is closed, for threads that connect."""
MAX_IDLE = 5.0
"""Seconds after which a connection that was not used is closed, one at a time: another process may need it, where a
role or a server has few."""
STATEMENT_TIMEOUT = 30.0
"""Seconds after which Postgres ends a statement, or a transaction whose client stopped sending."""
_UNUSABLE_SERVER = frozenset({"25006", "57P01", "57P02", "57P03"})
"""SQLSTATEs of a server that is read-only, shuts down, has crashed or starts: all connections to it are discarded."""


class Database:
    """Lends connections in autocommit mode: outside `connection.transaction()` each statement commits by itself."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        timeout: float,
        statement_timeout: float = STATEMENT_TIMEOUT,
        actor: str = "",
    ) -> None:
        """Raise `TransientError` within `timeout` seconds while Postgres is unavailable.

        Waiting for a connection and waiting for a lock have shares of that time. `statement_timeout` is in seconds.
        `actor` is whom the audit log names beside the login; empty where a service acts by itself.
        """
        self.dsn = replace(Dsn.parse(url), actor=actor)
        self._timeout = timeout * 0.8  # leaves a command time to start and to close its connections
        self._pool_timeout = timeout * 0.45
        self._check_timeout = timeout * 0.1
        self.timeouts = Timeouts(statement=statement_timeout, lock=timeout * 0.4)
        self._failure: psycopg.Error | SusyError | None = None
        """Why the latest attempt to connect failed; None when it succeeded."""
        self._pool = ConnectionPool(
            url,
            kwargs=self.dsn.parameters,
            connection_class=self._pooled_connection(),
            check=self._check,
            min_size=0,
            max_size=pool_size,
            max_idle=MAX_IDLE,
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
        self._pool.close(timeout=CLOSE_TIMEOUT)

    @contextmanager
    def connection(self, within: float | None = None, plans: Plans = Plans.PER_CALL) -> Iterator[Connection]:
        """A connection from the pool, which answers in the `timeout` of this database, or `within` seconds from now."""
        answer_by = time.monotonic() + (self._timeout if within is None else within)
        with translate_errors(self.dsn), ExitStack() as stack:
            self.open()
            try:
                connection = stack.enter_context(
                    self._pool.connection(timeout=min(self._pool_timeout, answer_by - time.monotonic()))
                )
            except PoolTimeout as error:
                raise self._why_no_connection() from error
            connection.answer_by = answer_by
            stack.callback(setattr, connection, "answer_by", math.inf)
            try:
                connection.use_plans(plans)
                yield connection
            except psycopg.Error as error:
                if error.sqlstate in _UNUSABLE_SERVER:
                    connection.close()
                    self._pool.drain()
                raise

    @contextmanager
    def try_lock(self, lock: AdvisoryLock) -> Iterator[bool]:
        """Try to take an advisory lock on a connection of its own; yields whether it is held."""
        with translate_errors(self.dsn), connect(self.dsn, self.timeouts) as connection:
            held: bool = scalars(connection, queries.TRY_LOCK, lock._asdict())[0]
            yield held
            # Closing the connection frees the lock too, but a moment later than another session may try it.
            if held:
                connection.execute(queries.UNLOCK, lock._asdict())

    def rows(
        self,
        query: str,
        parameters: Mapping[str, Any],
        make: Callable[..., Row],
        within: float | None = None,
        plans: Plans = Plans.PER_CALL,
    ) -> list[Row]:
        """Run one statement; `make` is called for each row with its columns as keyword arguments."""
        with self.connection(within, plans) as connection:
            return rows(connection, query, parameters, make)

    def tuples(
        self, query: str, parameters: Mapping[str, Any], make: Callable[..., Row], within: float | None = None
    ) -> list[Row]:
        """As `rows`, for many rows: `make` is called with the columns in their order, which come in binary form."""
        with (
            self.connection(within) as connection,
            connection.cursor(row_factory=args_row(make), binary=True) as cursor,
        ):
            return cursor.execute(query, parameters).fetchall()

    def row(
        self, query: str, parameters: Mapping[str, Any], make: Callable[..., Row], plans: Plans = Plans.PER_CALL
    ) -> Row | None:
        """The first of `rows`; None when there is none."""
        return next(iter(self.rows(query, parameters, make, plans=plans)), None)

    def scalars(
        self,
        query: str,
        parameters: Mapping[str, Any],
        within: float | None = None,
        plans: Plans = Plans.PER_CALL,
    ) -> list[Any]:
        """Run one statement; its first column."""
        with self.connection(within, plans) as connection:
            return scalars(connection, query, parameters)

    def execute(
        self,
        query: str,
        parameters: Mapping[str, Any],
        within: float | None = None,
        plans: Plans = Plans.PER_CALL,
    ) -> int:
        """Run one statement; how many rows it affected."""
        with self.connection(within, plans) as connection:
            return connection.execute(query, parameters).rowcount

    def _check(self, connection: Connection) -> None:
        """Ask the server, unless it has just answered: a round trip before each statement costs as much as most of
        them. Where that trust is misplaced, the statement fails as it does when the server stops a moment later."""
        if has_answered(connection):
            return
        try:
            check(connection, timeout=self._check_timeout)
        except ReadOnlyServerError:
            self._pool.drain()
            raise

    def _pooled_connection(self) -> type[Connection]:
        """A class of connections that notes whether it could connect, which the pool does in its own threads."""
        database = self

        class PooledConnection(Connection):
            @classmethod
            def connect(cls, *_arguments: Any, **_parameters: Any) -> Self:
                """The pool passes the URL and parameters of `database.dsn`."""
                try:
                    connection = configured(super().connect, database.dsn, database.timeouts)
                except (psycopg.Error, SusyError) as error:
                    database._failure = error
                    raise
                database._failure = None
                return connection

        return PooledConnection

    def _why_no_connection(self) -> SusyError:
        waited = f"{self._pool_timeout:.1f} s"
        match self._failure:
            case None if self._pool.get_stats()["pool_size"] == 0:
                return unavailable(self.dsn, f"no answer within {waited}")
            case None:
                return unavailable(
                    self.dsn, f"all {self._pool.max_size} connections of the pool were in use for {waited}"
                )
            case psycopg.Error() as error:
                return translate(error, self.dsn)
            case error:
                return error


def rows(connection: Connection, query: str, parameters: Mapping[str, Any], make: Callable[..., Row]) -> list[Row]:
    """Run one statement on this connection; `make` is called for each row with its columns as keyword arguments."""
    with connection.cursor(row_factory=kwargs_row(make)) as cursor:
        return cursor.execute(query, parameters).fetchall()


def scalars(connection: Connection, query: str, parameters: Mapping[str, Any]) -> list[Any]:
    """Run one statement on this connection; its first column."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
