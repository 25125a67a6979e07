"""Connections to the database: where it is, what a session needs, and that the server is one that can be written to."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ExecStatus
from psycopg.rows import TupleRow

from worker.errors import ConfigurationError, ErrorCode
from worker.store import queries

CONNECT_TIMEOUT = 5
"""Seconds to wait for the server to accept a connection."""
CONFIGURE_TIMEOUT = 2.0
"""Seconds that each of the two statements may take by which a new connection is prepared."""
PREPARED_AFTER = 5
"""Executions after which a statement is parsed once per connection. Those whose plans are kept are at once."""
TRUSTED_FOR = 0.5
"""Seconds after an answer for which a connection is used without asking the server whether it accepts writes."""
ANSWER_MARGIN = 5.0
"""Seconds that an answer may take longer than the server lets a statement run."""
CONNECT_TIMEOUT_OF_SEVERAL = 2
"""The same for each server, where the URL names several; libpq knows no shorter one."""
LOOK_EVERY = 10.0
"""Seconds without an answer to a statement of unlimited time, after which a new connection is tried."""
LOOKS = 2
"""New connections, one after the other, that the server must leave unanswered to count as frozen."""
ENCODING = "UTF8"
_DEFAULTS: dict[str, str | int] = {
    "fallback_application_name": "susy-worker",
    # A host that disappears without closing its connections (power, network) is noticed in seconds, not in two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
_READ_ONLY_SERVERS = ("read-only", "standby", "prefer-standby")
_ENDED_BY_TIMEOUT = frozenset({"57014", "57P05", "25P04"})
"""SQLSTATEs of a statement, an idle session and a transaction that a timeout of the server has ended."""


@dataclass(frozen=True)
class Dsn:
    """A parsed database URL."""

    url: str
    server: str
    """Hosts, ports and database, for messages. Never a user or a password."""
    parameters: dict[str, Any]
    """Connection parameters beside the URL: defaults for what it does not set, and what the store relies on."""
    options: str
    """The server's settings at the start of a session that the URL asks for (libpq's `options`)."""
    actor: str = ""
    """Whom the audit log names beside the login; empty where a service acts by itself."""

    @classmethod
    def parse(cls, database_url: str) -> Self:
        """Raises `ConfigurationError` when libpq cannot read the URL, or when it asks for a server to read from."""
        try:
            parts = conninfo_to_dict(database_url)
        except (psycopg.Error, UnicodeError):
            # libpq's own text may repeat the URL.
            raise ConfigurationError(ErrorCode.SETTINGS, "the database URL is not a valid Postgres URL") from None
        hosts = str(parts.get("host") or parts.get("hostaddr") or "the local socket").split(",")
        defaults = {**_DEFAULTS, "connect_timeout": CONNECT_TIMEOUT if len(hosts) == 1 else CONNECT_TIMEOUT_OF_SEVERAL}
        return cls(
            url=database_url,
            server=_server(hosts, parts),
            parameters={
                **{name: value for name, value in defaults.items() if name not in parts},
                "target_session_attrs": _target(parts.get("target_session_attrs")),
                "autocommit": True,
            },
            options=str(parts.get("options") or ""),
        )


def _server(hosts: list[str], parts: dict[str, Any]) -> str:
    ports = str(parts.get("port") or "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    servers = [f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False)]
    return f"{','.join(servers)}/{parts.get('dbname') or parts.get('user') or 'the database of the user'}"


def _target(requested: Any) -> str:
    """The kind of server to connect to: never a standby, which would refuse every write.

    `primary` by default and not `read-write`, because that one also refuses a primary on which a role or database has
    `default_transaction_read_only`, and `configure` can undo this.
    """
    if requested in _READ_ONLY_SERVERS:
        raise ConfigurationError(
            ErrorCode.SETTINGS,
            f"the database URL has target_session_attrs={requested}, but the ledger is written to; use read-write",
        )
    return "primary" if requested in (None, "any") else str(requested)


_Value = TypeVar("_Value")


class Plans(Enum):
    """How a session plans its statements, which costs more than running those that find a row by its key."""

    PER_CALL = "per call"
    """With the parameters' values. A new connection does so."""
    KEPT = "kept"
    """Once per connection, whatever the values: index lookups and nested loops. For statements of one check."""


class Connection(psycopg.Connection[TupleRow]):
    """A connection that is closed when the server does not answer in time.

    The server's own timeouts and TCP's do not help while its process is stopped, or its machine has no memory left:
    the kernel still confirms what is sent.
    """

    answer_within: float = math.inf
    """Seconds that the answer to each statement may take."""
    answer_by: float = math.inf
    """The time of `time.monotonic()` after which no answer is waited for."""
    is_served: Callable[[], bool] | None = None
    """Whether the server answers others. Asked every `LOOK_EVERY` seconds while no answer comes, where statements may
    take any time: so that a frozen server is recognized."""
    plans: Plans = Plans.PER_CALL
    answered_at: float = -math.inf
    """The time of `time.monotonic()` of the latest answer."""

    def use_plans(self, plans: Plans) -> None:
        """Plan the statements that follow in this way. Costs a statement where the latest ones were planned in another.

        A plan that is kept must not depend on how many rows there are: made for an empty table, it would scan a million
        checks until the table is analyzed. Hence these sessions do without sequential scans.
        """
        if self.plans is not plans:
            self.execute(queries.KEEP_PLANS if plans is Plans.KEPT else queries.PLAN_PER_CALL, prepare=False)
            self.prepare_threshold = 0 if plans is Plans.KEPT else PREPARED_AFTER
            self.plans = plans

    def wait(self, gen: Generator[Any, Any, _Value], *args: Any, **options: Any) -> _Value:
        """Every exchange with the server passes through here. Raises `psycopg.OperationalError` in the end."""
        return super().wait(self._in_time(gen), *args, **options)

    def _in_time(self, exchange: Generator[Any, Any, _Value]) -> Generator[Any, Any, _Value]:
        """`exchange`, which psycopg resumes with nothing ten times per second while no answer comes."""
        began = looked = time.monotonic()
        answer_by = min(self.answer_by, began + self.answer_within)
        unanswered = 0
        try:
            wanted = next(exchange)
            while True:
                ready = yield wanted
                if not ready and self.is_served is not None and time.monotonic() > looked + LOOK_EVERY:
                    unanswered = 0 if self.is_served() else unanswered + 1
                    looked = time.monotonic()
                if not ready and (time.monotonic() > answer_by or unanswered >= LOOKS):
                    self.pgconn.finish()
                    raise NoAnswerError(f"no answer within {time.monotonic() - began:.1f} s")
                wanted = exchange.send(ready)
        except StopIteration as end:
            self.answered_at = time.monotonic()
            value: _Value = end.value
            return value


class NoAnswerError(psycopg.OperationalError):
    """The server did not answer in time, and the connection is closed."""


class ReadOnlyServerError(psycopg.OperationalError):
    """The server answers, but does not accept writes."""


@dataclass(frozen=True)
class Timeouts:
    """How long the server lets a session wait, in seconds; 0: without limit."""

    statement: float
    """For a statement to end; and for the next one inside a transaction, because it holds its row locks."""
    lock: float
    """For a lock, such as that of a table under maintenance."""


def connect(dsn: Dsn, timeouts: Timeouts) -> Connection:
    """A configured connection outside the pool, in autocommit mode."""
    return configured(Connection.connect, dsn, timeouts)


_Made = TypeVar("_Made", bound=Connection)


def configured(make: Callable[..., _Made], dsn: Dsn, timeouts: Timeouts) -> _Made:
    """A connection of `make(url, **parameters)`, with the session settings that the store needs.

    A role or a database may have timeouts that end a session before its first statement has changed them. Only then are
    they passed as startup parameters, because poolers refuse or ignore these (`docs/decisions/0020-timeouts.md`).
    """
    connection = make(dsn.url, **dsn.parameters)
    version = connection.info.server_version
    try:
        configure(connection, dsn, timeouts)
    except (NoAnswerError, ReadOnlyServerError):
        raise
    except psycopg.Error as error:
        if error.sqlstate not in (*_ENDED_BY_TIMEOUT, None):  # None: the server has closed the connection
            raise
        try:
            connection = make(dsn.url, **dsn.parameters, options=f"{dsn.options} {_without_timeouts(version)}")
        except psycopg.Error:  # a pooler that refuses the parameters
            raise error from None
        configure(connection, dsn, timeouts)
    return connection


def _without_timeouts(server_version: int) -> str:
    names = ["statement_timeout", "idle_session_timeout"]
    if server_version >= 170_000:
        names.append("transaction_timeout")
    return " ".join(f"-c {name}=0" for name in names)


def answers(dsn: Dsn) -> bool:
    """Whether the server answers a new connection within `CONNECT_TIMEOUT` seconds, if only by refusing it."""
    try:
        psycopg.connect(dsn.url, **dsn.parameters).close()
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        return True
    return True


def configure(connection: Connection, dsn: Dsn, timeouts: Timeouts) -> None:
    """Give a new connection the session settings that the store needs, or close it and raise.

    Raises `ConfigurationError` for a database that is not UTF-8, and `ReadOnlyServerError`.
    """
    values = {
        "statement_timeout": f"{timeouts.statement * 1000:.0f}",
        "lock_timeout": f"{timeouts.lock * 1000:.0f}",
        "actor": dsn.actor,
    }
    connection.answer_within = CONFIGURE_TIMEOUT
    try:
        _require_encoding(connection, dsn)
        connection.execute(queries.CONFIGURE, values)
        check(connection, timeout=CONFIGURE_TIMEOUT)
        connection.answer_within = timeouts.statement + ANSWER_MARGIN if timeouts.statement else math.inf
    except BaseException:
        connection.close()
        raise


def _require_encoding(connection: Connection, dsn: Dsn) -> None:
    reported = connection.pgconn.parameter_status(b"server_encoding") or b""  # by Postgres, and by poolers
    encoding = reported.decode("ascii", "replace")
    if encoding != ENCODING:
        raise ConfigurationError(
            ErrorCode.SETTINGS,
            f"the database at {dsn.server} has the encoding {encoding}, but the ledger needs {ENCODING}; create another"
            f" one by CREATE DATABASE … ENCODING '{ENCODING}' TEMPLATE template0",
        )


def check(connection: Connection, *, timeout: float) -> None:
    """Raise `psycopg.OperationalError` and close the connection unless the server answers and accepts writes.

    After a failover a connection may lead to the former primary, which is a standby now. psycopg's own check would not
    notice that, and would wait for a frozen server forever.
    """
    try:
        if _ask(connection, b"SHOW transaction_read_only", timeout) != b"off":
            raise ReadOnlyServerError("the server is read-only: a standby, or a primary that is being replaced")
    except psycopg.Error:
        connection.close()
        raise


def has_answered(connection: Connection) -> bool:
    """Whether the server has answered within `TRUSTED_FOR` and has sent nothing since: neither an error nor an end."""
    if time.monotonic() - connection.answered_at > TRUSTED_FOR:
        return False
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return not poll.poll(0)


def _ask(connection: Connection, query: bytes, timeout: float) -> bytes | None:
    """The value that a statement returns, within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    server = connection.pgconn
    server.send_query(query)
    poll = select.poll()
    poll.register(server.socket, select.POLLIN)
    while server.is_busy():
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise NoAnswerError(f"no answer within {timeout:.1f} s")
        server.consume_input()
    value = None
    while (result := server.get_result()) is not None:
        if result.status != ExecStatus.TUPLES_OK:
            raise psycopg.OperationalError(result.get_error_message())
        value = result.get_value(0, 0)
    return value
