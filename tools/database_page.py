"""The reference part of docs/database.md and the golden list of the dashboards' contract, made from a database.

`python -m tools.database_page` migrates an embedded Postgres and rewrites them: what is between the markers of the
page, `schema/dashboard.columns`, and `schema/roles.privileges`. Views that the page does not know get a section.
Tests fail while any differs.
"""

from __future__ import annotations

import re
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path

import psycopg

from tools.role_privileges import GOLDEN, privileges
from worker.embedded.servers import embedded_services
from worker.store.migrate import upgrade

CHECKOUT = Path(__file__).parents[1]
PAGE = CHECKOUT / "docs/database.md"
CONTRACT = CHECKOUT / "schema/dashboard.columns"
HOW = "by python -m tools.database_page from the database's comments"
HEAD = """\
# The contract of the schema `dashboard`, as `python -m tools.database_page` reads it from a migrated database.
# Nothing may be removed from it or change its type without a new dashboard.version() and a line in CHANGELOG.md.
"""

RELATIONS = """
    SELECT relname::text, coalesce(obj_description(oid, 'pg_class'), '') FROM pg_class
    WHERE relnamespace = %s::regnamespace AND relkind = ANY (%s) AND relname <> 'alembic_version' ORDER BY relname"""
COLUMNS = """
    SELECT attname::text, format_type(atttypid, atttypmod), coalesce(col_description(attrelid, attnum), '')
    FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
FUNCTIONS = """
    SELECT proname::text, pg_get_function_arguments(oid), pg_get_function_result(oid),
        coalesce(obj_description(oid, 'pg_proc'), '')
    FROM pg_proc WHERE pronamespace = %s::regnamespace ORDER BY proname, 2"""


def main() -> None:
    """Rewrite the page and the golden list; exit 1 if the contract changed without a new version."""
    with tempfile.TemporaryDirectory() as folder, embedded_services(Path(folder)) as services:
        upgrade(services.database_url)
        with psycopg.connect(services.database_url) as connection:
            broken = broken_promises(CONTRACT.read_text() if CONTRACT.exists() else "", connection)
            if broken:
                sys.exit("\n".join(["without a new dashboard.version(), the contract has lost:", *broken]))
            CONTRACT.write_text(contract(connection))
            GOLDEN.write_text(privileges(connection))
            PAGE.write_text(with_reference(PAGE.read_text(), connection))


def contract(connection: psycopg.Connection) -> str:
    """The golden list of this database."""
    [(version,)] = connection.execute("SELECT dashboard.version()").fetchall()
    lines = [f"version {version}"]
    for name, arguments, result, _ in connection.execute(FUNCTIONS, ["dashboard"]).fetchall():
        lines.append(f"function {name}({arguments}) -> {result}")
    for view, _ in connection.execute(RELATIONS, ["dashboard", ["v", "m"]]).fetchall():
        columns = connection.execute(COLUMNS, [f"dashboard.{view}"]).fetchall()
        lines += [f"{view}.{column} {kind}" for column, kind, _ in columns]
    return HEAD + "".join(f"{line}\n" for line in lines)


def broken_promises(golden: str, connection: psycopg.Connection) -> list[str]:
    """What the golden list promises under the present version, and this database does not keep."""
    promised = [line for line in golden.splitlines() if line and not line.startswith("#")]
    kept = set(contract(connection).splitlines())
    is_new_version = any(line.startswith("version ") and line not in kept for line in promised)
    return [] if is_new_version else [line for line in promised if line not in kept]


def with_reference(page: str, connection: psycopg.Connection) -> str:
    """`page` with the blocks between its markers generated, and a section for each view that had none."""
    blocks = {"functions": _functions(connection), "tables": _tables(connection)}
    for view, comment in connection.execute(RELATIONS, ["dashboard", ["v", "m"]]).fetchall():
        blocks[f"dashboard.{view}"] = _relation(connection, f"dashboard.{view}", comment)
    for name in blocks:
        if _begin(name) not in page:
            section = f"### {name}\n\n{_begin(name)}<!-- end -->\n\n"
            page = page.replace("## The functions\n", f"{section}## The functions\n", 1)
    pieces = re.split(r"(<!-- generated: .*? -->\n)(.*?)(<!-- end -->)", page, flags=re.DOTALL)
    for begin in range(1, len(pieces), 4):
        (name,) = re.findall(r"<!-- generated: (.*?),", pieces[begin])
        pieces[begin + 1] = blocks[name]
    return "".join(pieces)


def _begin(name: str) -> str:
    return f"<!-- generated: {name}, {HOW} -->\n"


def _relation(connection: psycopg.Connection, name: str, comment: str) -> str:
    columns = connection.execute(COLUMNS, [name]).fetchall()
    rows = (
        (f"`{column}`", kind.replace("timestamp with time zone", "timestamptz"), meaning)
        for column, kind, meaning in columns
    )
    return f"{_wrapped(comment)}\n\n{_table(('column', 'type', 'meaning'), rows)}"


def _tables(connection: psycopg.Connection) -> str:
    tables = connection.execute(RELATIONS, ["susy", ["r", "p"]]).fetchall()
    return "\n".join(f"### susy.{name}\n\n{_relation(connection, f'susy.{name}', comment)}" for name, comment in tables)


def _functions(connection: psycopg.Connection) -> str:
    rows = [
        (f"`dashboard.{name}({arguments})`", result, comment)
        for name, arguments, result, comment in connection.execute(FUNCTIONS, ["dashboard"]).fetchall()
    ]
    return _table(("function", "result", "meaning"), rows)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
