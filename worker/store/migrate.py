"""Migrates a database to the schema that this version needs: one locked transaction, all or nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import alembic.command
import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

import migrations
from schema.tables import SCHEMA
from worker.errors import ConfigurationError, ErrorCode, SetupError
from worker.store.connection import Connection, Dsn, Timeouts, answers, connect
from worker.store.database import MIGRATION_LOCK
from worker.store.errors import translate_errors

log = logging.getLogger(__name__)

LOCK_TIMEOUT = 60.0
"""Seconds to wait for a migration by another process, or for a table that is in use."""
MIGRATING = Timeouts(statement=0, lock=LOCK_TIMEOUT)
"""An index of a large table takes its time."""
READING = Timeouts(statement=3, lock=3)

# Alembic keeps its current environment in module globals.
_one_at_a_time = threading.Lock()


def upgrade(database_url: str, revision: str = "head") -> None:
    """Apply every migration up to `revision`, and what roles may do. Processes that start together wait for the first
    one."""
    with _locked(database_url) as connection:
        if _schema_is_missing(connection):
            connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
        alembic.command.upgrade(_config(connection), revision)
        if _revision(connection) == head():
            privileges = Path(migrations.__file__ or "").with_name("privileges.sql").read_text(encoding="utf-8")
            connection.exec_driver_sql(privileges, execution_options={"no_parameters": True})


def downgrade(database_url: str, revision: str) -> None:
    """Revert migrations down to `revision`; `base` drops the ledger and everything in it."""
    with _locked(database_url) as connection:
        if _schema_is_missing(connection):
            return
        alembic.command.downgrade(_config(connection), revision)
        if _revision(connection) is None:
            connection.exec_driver_sql(f"DROP TABLE {SCHEMA}.alembic_version")
            connection.exec_driver_sql(f"DROP SCHEMA {SCHEMA}")


def current(database_url: str) -> str | None:
    """The revision the database is at; None when it has no ledger yet."""
    with _connected(database_url, READING) as connection:
        return _revision(connection)


def head() -> str:
    """The revision this version of susy-worker needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise ConfigurationError(
            ErrorCode.DATABASE_OUTDATED, "this installation lacks its migrations; reinstall susy-worker"
        )
    return revision


def require_current(database_url: str) -> None:
    """Raise `ConfigurationError`, with the remedy, unless the database is at this version's revision."""
    revision = current(database_url)
    if revision == head():
        return
    if revision is not None and not _is_known(revision):
        raise _too_new(revision)
    found = "has no ledger" if revision is None else f"is at revision {revision}"
    raise ConfigurationError(
        ErrorCode.DATABASE_OUTDATED, f"the database {found}, but this version needs {head()}; run `susy db upgrade`"
    )


def _is_known(revision: str) -> bool:
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _too_new(revision: str) -> SetupError:
    return ConfigurationError(
        ErrorCode.DATABASE_OUTDATED,
        f"the database is at revision {revision}, which this version of susy-worker does not know; upgrade susy-worker",
    )


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    # Config values are interpolated, and a folder's name may contain a percent sign.
    config.set_main_option("script_location", str(Path(migrations.__file__ or "").parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(database_url: str, timeouts: Timeouts) -> Iterator[sa.Connection]:
    dsn = Dsn.parse(database_url)
    # libpq parses the URL, not SQLAlchemy: they differ in sockets, several hosts and defaults.
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: _connect(dsn, timeouts), poolclass=sa.NullPool)
    with translate_errors(dsn):
        try:
            with engine.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise (error.orig or error) from error


def _connect(dsn: Dsn, timeouts: Timeouts) -> Connection:
    connection = connect(dsn, timeouts)
    connection.is_served = lambda: answers(dsn)
    connection.autocommit = False
    # A migration reports by a NOTICE what it could not do, such as creating the dashboards' role.
    connection.add_notice_handler(lambda notice: log.warning("%s", notice.message_primary))
    return connection


@contextmanager
def _locked(database_url: str) -> Iterator[sa.Connection]:
    with _one_at_a_time, _connected(database_url, MIGRATING) as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK.space}, {MIGRATION_LOCK.key})")
        try:
            yield connection
        except CommandError as error:
            revision = _revision(connection)
            if revision is not None and not _is_known(revision):
                raise _too_new(revision) from error
            raise ConfigurationError(ErrorCode.DATABASE_OUTDATED, str(error)) from error


def _schema_is_missing(connection: sa.Connection) -> bool:
    return connection.exec_driver_sql(f"SELECT to_regnamespace('{SCHEMA}') IS NULL").scalar_one() is True


def _revision(connection: sa.Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
    return context.get_current_revision()
