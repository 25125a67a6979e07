"""A clone of a template database, which is made equal to the template again after a test.

What a test can leave in a database is of three kinds. Sessions, with their locks and notifications, are ended. Rows are
deleted and sequences set back. Anything else is written in the system catalogs: the schema, comments, privileges,
settings of the database, statistics of ANALYZE. Every catalog is compared with what it was, by the number of its rows
and whether a row is newer than the clone, and a clone in which one differs is not used again.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql

PAGES_OF_NEW_TABLES = 10
"""Pages that the planner assumes of a table which was never analyzed and has fewer. One that has more, though its rows
were deleted, would be planned for as a larger one."""

_END_SESSIONS: LiteralString = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_TABLES: LiteralString = """
SELECT relnamespace::regnamespace::text, relname,
       greatest(pg_relation_size(oid), pg_relation_size(nullif(reltoastrelid, 0)))
       / current_setting('block_size')::int AS pages
FROM pg_class WHERE relkind = 'r' AND oid >= 16384 AND pg_relation_size(oid) > 0
"""
_RESET_SEQUENCES: LiteralString = """
SELECT setval(seqrelid, seqstart, false) FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) IS NOT NULL
"""
_CATALOGS: LiteralString = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'pg_catalog'::regnamespace AND NOT relisshared
"""
_BESIDE_CATALOGS: LiteralString = """
SELECT (SELECT array[sum(relpages), sum(reltuples)] FROM pg_class WHERE oid >= 16384),  -- VACUUM updates them in place
       (SELECT xmin::text FROM pg_database WHERE datname = current_database()),
       (SELECT array_agg(setting ORDER BY setting::text) FROM pg_db_role_setting AS setting
        WHERE setdatabase IN (SELECT oid FROM pg_database WHERE datname = current_database())),
       (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()),
       (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())
"""


class Clone:
    """A database as it was made from the template, and a session in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = psycopg.connect(url, autocommit=True, application_name="clone")
        self._connection.execute("SET session_replication_role = replica")  # triggers keep rows from being deleted
        self._compared = [sql.Identifier("pg_catalog", name) for (name,) in self._connection.execute(_CATALOGS)]
        self._filled = {(schema, name) for schema, name, _ in self._connection.execute(_TABLES)}
        self._compared += [sql.Identifier(*table) for table in self._filled]
        self._made = next(self._connection.execute("SELECT pg_current_xact_id()::xid::text"))[0]
        self._original = self._fingerprint()

    def restore(self) -> bool:
        """Delete what a test has left. False when the database still differs from what it was."""
        try:
            self._connection.execute(_END_SESSIONS)
            if self._fingerprint() != self._original:
                return False
            tables = [row for row in self._connection.execute(_TABLES) if row[:2] not in self._filled]
            if any(pages >= PAGES_OF_NEW_TABLES for _, _, pages in tables):
                return False
            deletions = [sql.SQL("DELETE FROM {}").format(sql.Identifier(*table)) for *table, _ in tables]
            self._connection.execute(sql.SQL(";").join([*deletions, sql.SQL(_RESET_SEQUENCES)]))
        except psycopg.Error:  # the database or its server is gone, or somebody holds a lock
            return False
        return True

    def close(self) -> None:
        self._connection.close()

    def _fingerprint(self) -> list[tuple[Any, ...]]:
        rows = sql.SQL("SELECT count(*), count(*) FILTER (WHERE age(xmin) < age({}::xid)) FROM {}")
        counts = sql.SQL(" UNION ALL ").join(rows.format(self._made, table) for table in self._compared)
        return [*self._connection.execute(counts), *self._connection.execute(_BESIDE_CATALOGS)]
