"""The one place where the driver's errors become ours. The cause stays attached; messages hold no row and no secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from worker.errors import ConfigurationError, ErrorCode, PermanentError, SusyError, TransientError
from worker.store.dsn import Dsn

_MAX_REASON = 300


@contextmanager
def translated(address: Dsn) -> Iterator[None]:
    """Raise what the driver raises inside as a `SusyError`."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, address) from error


def translate(error: psycopg.Error, address: Dsn) -> SusyError:
    """What a driver's error means to us."""
    match error:
        case psycopg.DataError() | errors.ProgramLimitExceeded():
            return PermanentError(ErrorCode.INVALID_MESSAGE, f"Postgres cannot store a value: {reason(error)}")
        case psycopg.IntegrityError():
            rule = error.diag.constraint_name or "a trigger"
            return PermanentError(ErrorCode.UNEXPECTED, f"Postgres refused a row, by {rule}")
        case psycopg.OperationalError() | psycopg.InterfaceError() | psycopg.InternalError():
            return unavailable(address, reason(error))
        case _:
            return _set_up_wrongly(error, address)


def _set_up_wrongly(error: psycopg.Error, address: Dsn) -> SusyError:
    match error:
        case (
            errors.UndefinedTable() | errors.UndefinedColumn() | errors.UndefinedFunction() | errors.InvalidSchemaName()
        ):
            return ConfigurationError(
                ErrorCode.DATABASE_OUTDATED,
                f"the database at {address.place} lacks what this version needs; run `susy db upgrade`",
            )
        case errors.DuplicateTable() | errors.DuplicateSchema() | errors.DuplicateFunction() | errors.DuplicateObject():
            return ConfigurationError(
                ErrorCode.SETTINGS,
                f"the database at {address.place} holds something else under a name of ours: {reason(error)}",
            )
        case errors.InsufficientPrivilege():
            return ConfigurationError(
                ErrorCode.SETTINGS, f"the database user has too few rights at {address.place}: {reason(error)}"
            )
        case _:
            return PermanentError(ErrorCode.UNEXPECTED, f"{type(error).__name__}: {reason(error)}")


def unavailable(address: Dsn, why: str) -> TransientError:
    """Postgres did not answer, or answered that it cannot now."""
    return TransientError(ErrorCode.DATABASE_UNAVAILABLE, f"Postgres at {address.place} is unavailable: {why}")


def reason(error: psycopg.Error) -> str:
    """The driver's one line. DETAIL is left out: it may quote a row."""
    return " ".join((error.diag.message_primary or str(error) or type(error).__name__).split())[:_MAX_REASON]
