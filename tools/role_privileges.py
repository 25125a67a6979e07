"""What each role may do in a database, read from its catalog: the golden list `schema/roles.privileges`.

`python -m tools.database_page` rewrites it together with the page; a test fails while it differs. A line is one role
and one table, view, sequence, function or schema; what is not in the list, the role may not do.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

GOLDEN = Path(__file__).parents[1] / "schema/roles.privileges"
HEAD = """\
# What each role may do, as `python -m tools.database_page` reads it from the catalog of a migrated database.
# Nothing else is allowed to it. Functions are those that have the rights of their owner, and those of `dashboard`.
"""
PRIVILEGES = """
WITH roles AS (
    SELECT oid, rolname::text AS name FROM pg_roles WHERE rolname = ANY (%(roles)s)
), relations AS (
    SELECT oid, oid::regclass::text AS name, relkind = 'S' AS is_sequence FROM pg_class
    WHERE relnamespace = ANY (%(schemas)s::regnamespace[]) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
), allowed AS (
    SELECT r.name AS role, t.name AS thing, w.word, w.place
    FROM roles AS r CROSS JOIN relations AS t
    CROSS JOIN unnest(
        ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
    ) WITH ORDINALITY AS w (word, place)
    WHERE NOT t.is_sequence AND has_table_privilege(r.oid, t.oid, w.word)
    UNION ALL
    SELECT r.name, t.name, w.word || ' (' || string_agg(a.attname, ', ' ORDER BY a.attnum) || ')', w.place
    FROM roles AS r CROSS JOIN relations AS t
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) WITH ORDINALITY AS w (word, place)
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE NOT t.is_sequence AND NOT has_table_privilege(r.oid, t.oid, w.word)
        AND has_column_privilege(r.oid, t.oid, a.attnum, w.word)
    GROUP BY r.name, t.name, w.word, w.place
    UNION ALL
    SELECT r.name, t.name, w.word, w.place
    FROM roles AS r CROSS JOIN relations AS t
    CROSS JOIN unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) WITH ORDINALITY AS w (word, place)
    WHERE CASE WHEN t.is_sequence THEN has_sequence_privilege(r.oid, t.oid, w.word) END
    UNION ALL
    SELECT r.name, p.oid::regprocedure::text, 'EXECUTE', 1
    FROM roles AS r CROSS JOIN pg_proc AS p
    WHERE p.pronamespace = ANY (%(schemas)s::regnamespace[]) AND p.prorettype <> 'trigger'::regtype
        AND (p.prosecdef OR p.pronamespace = 'dashboard'::regnamespace)
        AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
    UNION ALL
    SELECT r.name, 'schema ' || n.nspname, w.word, w.place
    FROM roles AS r CROSS JOIN pg_namespace AS n
    CROSS JOIN unnest(ARRAY['USAGE', 'CREATE']) WITH ORDINALITY AS w (word, place)
    WHERE n.oid = ANY (%(schemas)s::regnamespace[]) AND has_schema_privilege(r.oid, n.oid, w.word)
)
SELECT role || ': ' || thing || ': ' || string_agg(word, ', ' ORDER BY place)
FROM allowed GROUP BY role, thing ORDER BY role COLLATE "C", thing COLLATE "C"
"""
ROLES = ["susy_dashboard", "susy_moderator", "susy_submit", "susy_worker", "susy_serve", "susy_deliver"]
"""All but `susy_migrate`, which owns both schemas."""


def privileges(connection: psycopg.Connection) -> str:
    """The list of this database."""
    rows = connection.execute(PRIVILEGES, {"roles": ROLES, "schemas": ["susy", "dashboard"]}).fetchall()
    return HEAD + "".join(f"{line}\n" for (line,) in rows)
