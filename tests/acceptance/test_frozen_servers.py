"""A server whose processes are stopped still accepts connections and data. No command waits for it longer than it says.

Each call is under way when the server stops: it waits for a lock that another session holds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from schema.states import CheckState
from tests.support.commands import Result, Susy
from tests.support.databases import new_database
from tests.support.ledger import claimed, examination, submission
from tests.support.servers import Postgres, Valkey
from tests.support.waiting import eventually
from worker.client import Client
from worker.errors import ErrorCode, SusyError, TransientError
from worker.queue.retry import AttemptStore
from worker.settings import Settings, load_settings
from worker.store import RecordOutcome, Store
from worker.store.connection import CONNECT_TIMEOUT
from worker.store.database import MIGRATION_LOCK
from worker.store.migrate import current, head, upgrade

PROMISED = 10.0
"""Seconds (`docs/messages.md`), of which two are for a command to start and to end."""
ALLOWED = PROMISED + 5.0
"""Seconds that a test allows, so that a machine with other work does not fail it. What does not depend on the machine
is that the answer is given up in time: the error says after how many seconds."""
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'susy.checks'::regclass"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.configure(fsync="off", full_page_writes="off")
    yield server
    server.close()


@pytest.fixture(scope="module")
def template_database(postgres: Postgres) -> Iterator[str]:
    """Name of a migrated database of this server."""
    with new_database(postgres.url) as url:
        upgrade(url)
        yield str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
def database_url(postgres: Postgres, template_database: str) -> Iterator[str]:
    with new_database(postgres.url, template=template_database) as url:
        yield url


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "valkey")
    yield server
    server.kill()


@pytest.fixture
def settings(database_url: str, valkey: Valkey, images: Path) -> Settings:
    return load_settings(database_url=database_url, redis_url=valkey.url, image_roots=(images,))


@pytest.fixture
def command_variables(settings: Settings) -> dict[str, str]:
    return settings.environment()


def frozen_while_it_waits(postgres: Postgres, database_url: str, call: Callable[[], object]) -> float:
    """Stop the server while `call` waits for a lock; the seconds until `call` ended."""
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as watcher:
        holder.execute("LOCK TABLE susy.checks IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            running = pool.submit(call)
            eventually(lambda: watcher.execute(WAITING).fetchone() != (0,), 8)
            with postgres.frozen():
                running.result(60)
            return time.monotonic() - began


def test_submitting_ends_in_time_and_says_that_nothing_is_known_of_the_check(
    postgres: Postgres, database_url: str, settings: Settings, images: Path
) -> None:
    def submit() -> None:
        with pytest.raises(TransientError) as caught:
            client.submit(source="s", external_id="1", uri=str(images / "a.png"))
        assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
        assert _given_up_after(caught.value.message) < PROMISED - 1

    with Client(settings) as client:
        client.submit(source="s", external_id="0", uri=str(images / "a.png"))  # its connections are open
        assert frozen_while_it_waits(postgres, database_url, submit) < ALLOWED
        eventually(lambda: _submitted(client, images), 30)


def _submitted(client: Client, images: Path) -> bool:
    try:
        return bool(client.submit(source="s", external_id="1", uri=str(images / "a.png")).check_id)
    except SusyError:
        return False


@pytest.mark.parametrize(
    "command",
    [
        ["submit", "a.png"],
        ["show", "0199a3c2-7c1e-7000-8000-000000000001"],
        ["backlog", "status"],
        ["health", "worker"],
        ["doctor"],
    ],
    ids=lambda command: command[0],
)
def test_a_command_ends_in_time_with_one_line(
    postgres: Postgres,
    database_url: str,
    settings: Settings,
    valkey: Valkey,
    images: Path,
    susy: Susy,
    command: list[str],
) -> None:
    results: list[Result] = []
    if command[0] == "health":
        from worker.queue.health import _served_lanes  # noqa: F401 (imported before the clock runs)

        _pretend_presence(valkey)
    if command[0] == "doctor":
        seconds = _frozen_at_once(postgres, lambda: results.append(susy(*command)))
    else:
        call = lambda: results.append(susy(*command, folder=images))  # noqa: E731
        seconds = frozen_while_it_waits(postgres, database_url, call)
    assert seconds < ALLOWED
    [result] = results
    assert result.code in (1, 2)
    if command[0] == "doctor":
        assert "is unavailable" in result.stdout
    else:
        assert len(result.stderr.splitlines()) == 1, result.stderr
        [line] = result.stderr.splitlines()
        assert "database_unavailable" in line
        assert _given_up_after(line) < PROMISED - 1


def _given_up_after(message: str) -> float:
    """The seconds that an error says it has waited."""
    found = re.search(r"no answer within ([0-9.]+) s", message)
    assert found, message
    return float(found[1])


def _pretend_presence(valkey: Valkey) -> None:
    import socket

    with valkey.client() as client:
        client.set(f"susy:worker:celery@{socket.gethostname()}", '["live"]')


def _frozen_at_once(postgres: Postgres, call: Callable[[], object]) -> float:
    began = time.monotonic()
    with postgres.frozen():
        call()
    return time.monotonic() - began


@pytest.mark.parametrize("held", [False, True], ids=["of unlimited time", "that works"])
def test_a_migration_waits_for_a_server_that_works_and_not_for_a_frozen_one(
    postgres: Postgres, susy: Susy, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    monkeypatch.setattr("worker.store.connection.LOOK_EVERY", 1.0)
    with new_database(postgres.url) as url, psycopg.connect(url) as holder:
        lock = f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK.space}, {MIGRATION_LOCK.key})"
        holder.execute(lock)  # type: ignore[arg-type]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%advisory%%'"
        with ThreadPoolExecutor(1) as pool, psycopg.connect(url, autocommit=True) as watcher:
            running = pool.submit(susy, "db", "upgrade", SUSY_DATABASE_URL=url)
            eventually(lambda: watcher.execute(waiting).fetchone() == (1,), 20)
            if held:
                time.sleep(5)  # the server is asked several times whether it lives
                holder.rollback()
                result = running.result(60)
                assert (result.code, current(url)) == (0, head()), result.stderr
                return
            with postgres.frozen():
                began = time.monotonic()
                result = running.result(60)
                assert time.monotonic() - began < 2 * (1 + CONNECT_TIMEOUT) + 10
        assert result.code == 1
        [line] = result.stderr.splitlines()
        assert "database_unavailable" in line
        assert "no answer within" in line
        holder.rollback()
        assert susy("db", "upgrade", SUSY_DATABASE_URL=url).code == 0, "nothing of the first one is in the way"


def test_submitting_ends_in_time_while_redis_is_frozen_and_the_check_is_accepted(
    settings: Settings, valkey: Valkey, images: Path
) -> None:
    with Client(settings) as client, Store(settings.require_database_url(), pool_size=1) as store:
        client.submit(source="s", uri=str(images / "a.png"))  # its connection is open
        time.sleep(0.3)  # longer than the depth of a queue is remembered
        with valkey.frozen():
            began = time.monotonic()
            receipt = client.submit(source="s", uri=str(images / "b.png"))
            assert time.monotonic() - began < ALLOWED
        assert store.show(receipt.check_id).state is CheckState.QUEUED


@pytest.mark.parametrize("command", [["submit", "a.png"], ["health", "worker"], ["health", "reconciler"], ["doctor"]])
def test_a_command_ends_in_time_while_redis_is_frozen(
    settings: Settings, valkey: Valkey, images: Path, susy: Susy, command: list[str]
) -> None:
    with valkey.frozen():
        began = time.monotonic()
        result = susy(*command, folder=images)
        assert time.monotonic() - began < ALLOWED
    if command[0] == "submit":
        assert result.code == 0, "the check is accepted; the reconciler publishes it"
    else:
        assert result.code in (1, 2)
        assert len(result.stderr.splitlines()) <= 1


def test_a_verdict_whose_commit_froze_is_recorded_once(
    postgres: Postgres, database_url: str, settings: Settings
) -> None:
    outcomes: list[RecordOutcome] = []
    # The client gives up 5 s later.
    with Store(database_url, pool_size=2, statement_timeout=1.0) as store:
        claim = claimed(store)
        retrying = AttemptStore(store, claim, nullcontext)
        seconds = frozen_while_it_waits(
            postgres, database_url, lambda: _later(lambda: outcomes.append(retrying.record(examination())))
        )
        assert seconds < 5
        eventually(lambda: outcomes, 60)
        assert outcomes == [RecordOutcome.RECORDED]
        assert store.show(claim.check_id).state is CheckState.DONE
        store.submit(submission())


def _later(call: Callable[[], object]) -> None:
    """Run `call` in the background, for the first seconds of which the server is frozen."""
    import threading

    threading.Thread(target=call, daemon=True).start()
    time.sleep(2)
