"""Translates the driver's errors, at this one place. The cause stays attached; messages hold no row and no secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from worker.errors import ConfigurationError, ErrorCode, PermanentError, SusyError, TransientError
from worker.store.connection import Dsn

_MAX_REASON = 300
_OWN_CODES = {
    "SY001": ErrorCode.UNKNOWN_CHECK,
    "SY002": ErrorCode.CHECK_NOT_ENDED,
    "SY003": ErrorCode.UNKNOWN_REVIEW,
    "SY004": ErrorCode.CONFLICT,
    "SY005": ErrorCode.CLAIM_ENDED,
    "SY006": ErrorCode.TOO_MANY_CLAIMS,
    "SY007": ErrorCode.CONFLICT,
    "SY008": ErrorCode.TOO_MANY_CHECKS,
    "22023": ErrorCode.INVALID_MESSAGE,
}
"""What the functions of the two schemas raise, by SQLSTATE."""


@contextmanager
def translate_errors(dsn: Dsn) -> Iterator[None]:
    """Raise the driver's errors in this block as `SusyError`."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, dsn) from error
    except UnicodeEncodeError as error:
        # Half of a surrogate pair: no text, although Python strings and JSON escapes can hold it.
        character = ascii(error.object[error.start])
        raise PermanentError(
            ErrorCode.INVALID_MESSAGE, f"Postgres cannot store a value: {character} is not a Unicode character"
        ) from error


def translate(error: psycopg.Error, dsn: Dsn) -> SusyError:
    """The `SusyError` for a driver's error."""
    if code := _OWN_CODES.get(error.sqlstate or ""):
        return PermanentError(code, reason(error))
    match error:
        case psycopg.DataError() | errors.ProgramLimitExceeded():
            return PermanentError(ErrorCode.INVALID_MESSAGE, f"Postgres cannot store a value: {reason(error)}")
        case psycopg.IntegrityError():
            rule = error.diag.constraint_name or "a trigger"
            return PermanentError(ErrorCode.UNEXPECTED, f"Postgres refused a row because of {rule}")
        case errors.LockNotAvailable():
            return unavailable(dsn, f"a table is locked, as by VACUUM FULL or LOCK TABLE: {reason(error)}")
        case psycopg.OperationalError() | psycopg.InterfaceError() | psycopg.InternalError():
            return unavailable(dsn, reason(error))
        case _:
            return _configuration_error(error, dsn)


def _configuration_error(error: psycopg.Error, dsn: Dsn) -> SusyError:
    match error:
        case (
            errors.UndefinedTable() | errors.UndefinedColumn() | errors.UndefinedFunction() | errors.InvalidSchemaName()
        ):
            return ConfigurationError(
                ErrorCode.DATABASE_OUTDATED,
                f"the database at {dsn.server} lacks tables that this version needs; run `susy db upgrade`",
            )
        case errors.DuplicateTable() | errors.DuplicateSchema() | errors.DuplicateFunction() | errors.DuplicateObject():
            return ConfigurationError(
                ErrorCode.SETTINGS,
                f"the database at {dsn.server} has another object under a name that susy-worker needs: {reason(error)}",
            )
        case errors.InsufficientPrivilege():
            return ConfigurationError(
                ErrorCode.SETTINGS, f"the database user lacks a privilege at {dsn.server}: {reason(error)}"
            )
        case _:
            return PermanentError(ErrorCode.UNEXPECTED, f"{type(error).__name__}: {reason(error)}")


def unavailable(dsn: Dsn, why: str) -> TransientError:
    """The error for a Postgres that did not answer, or cannot do its work at the moment."""
    return TransientError(ErrorCode.DATABASE_UNAVAILABLE, f"Postgres at {dsn.server} is unavailable: {why}")


def reason(error: psycopg.Error) -> str:
    """The driver's message in one line. DETAIL is left out: it may quote a row."""
    return " ".join((error.diag.message_primary or str(error) or type(error).__name__).split())[:_MAX_REASON]
