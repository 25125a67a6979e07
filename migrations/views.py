"""What migrations of views have in common."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Connection, text

_COMMENTS = """
SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
WHERE attrelid = CAST(:view AS regclass) AND attnum > 0 AND col_description(attrelid, attnum) IS NOT NULL
"""
_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = CAST(:view AS regclass) AND attnum > 0"
_COMMENT = "SELECT obj_description(CAST(:view AS regclass), 'pg_class')"
_LITERAL = "SELECT quote_literal(:comment)"


def run(script: str) -> None:
    """Run a script of any number of statements, in which a percent sign or a colon means nothing."""
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})


def restore_view(view: str, script: str) -> None:
    """Replace a view by an earlier form, which lacks columns: drop it, run `script`, and comment it as before.

    Dropping it removes its grants, which the caller gives again.
    """
    connection = op.get_bind()
    comments: dict[str, str] = {row[0]: row[1] for row in connection.execute(text(_COMMENTS), {"view": view})}
    comment = connection.execute(text(_COMMENT), {"view": view}).scalar()
    run(f"DROP VIEW {view}")
    run(script)
    names = set(connection.execute(text(_COLUMNS), {"view": view}).scalars())
    if comment is not None:
        run(f"COMMENT ON VIEW {view} IS {_quoted(connection, comment)}")
    for name in comments.keys() & names:
        run(f"COMMENT ON COLUMN {view}.{name} IS {_quoted(connection, comments[name])}")


def _quoted(connection: Connection, comment: str) -> str:
    return str(connection.execute(text(_LITERAL), {"comment": comment}).scalar_one())
