"""`susy up` in a folder that cannot be used says so in one line, at once, and starts nothing."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.commands import Processes, Susy
from worker.embedded.folder import locked_folder
from worker.errors import ConfigurationError, ErrorCode

VERSION = "18"


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _cluster(state: Path, version: str = VERSION) -> Path:
    data = state / "postgres"
    for folder in ("base", "global", "pg_wal"):
        (data / folder).mkdir(parents=True)
    for name in ("postgresql.conf", "pg_hba.conf", "global/pg_control"):
        (data / name).touch()
    (data / "PG_VERSION").write_text(f"{version}\n")
    return data


def _file(state: Path) -> None:
    state.touch()


def _another_version(state: Path) -> None:
    _cluster(state, "12")


def _unreadable_version(state: Path) -> None:
    (_cluster(state) / "PG_VERSION").write_bytes(b"\xff\xfe" * 5000)


def _other_files(state: Path) -> None:
    (state / "postgres").mkdir(parents=True)
    (state / "postgres" / "holiday.jpg").touch()


def _incomplete(state: Path) -> None:
    (_cluster(state) / "global" / "pg_control").unlink()


def _postgres_is_a_file(state: Path) -> None:
    state.mkdir()
    (state / "postgres").touch()


def _valkey_is_a_file(state: Path) -> None:
    _cluster(state)
    (state / "valkey").touch()


def _services_is_a_folder(state: Path) -> None:
    (state / "services.toml").mkdir(parents=True)


def _lock_is_a_link(state: Path) -> None:
    state.mkdir()
    (state / "lock").symlink_to("/etc/passwd")


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a file": (_file, "is not a folder"),
    "another version": (_another_version, "made by PostgreSQL 12"),
    "an unreadable version": (_unreadable_version, "made by PostgreSQL"),
    "other files": (_other_files, "not a complete Postgres cluster: it lacks PG_VERSION"),
    "an incomplete cluster": (_incomplete, "it lacks global/pg_control"),
    "postgres is a file": (_postgres_is_a_file, "is not a folder"),
    "valkey is a file": (_valkey_is_a_file, "is not a folder"),
    "services is a folder": (_services_is_a_folder, "is a folder"),
    "the lock is a link": (_lock_is_a_link, "cannot be used"),
}


@pytest.mark.parametrize(("prepare", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_folder_that_servers_cannot_use_ends_the_command_with_one_line(
    tmp_path: Path, susy: Susy, prepare: Callable[[Path], None], said: str
) -> None:
    prepare(tmp_path / ".susy")
    result = susy("up", SUSY_WEIGHTS="demo")
    assert result.code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("susy: settings: ")
    assert said in line


def test_a_folder_in_use_names_the_process_that_uses_it_and_is_free_afterwards(tmp_path: Path) -> None:
    with locked_folder(tmp_path, VERSION):
        with pytest.raises(ConfigurationError) as caught, locked_folder(tmp_path, VERSION):
            pass
        assert caught.value.code is ErrorCode.SETTINGS
        assert f"is in use by process {os.getpid()}" in caught.value.message
    with locked_folder(tmp_path, VERSION):
        pass


@contextmanager
def _ordinary_user() -> Iterator[Path]:
    """A folder of an ordinary user, who runs the block."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory(prefix="susy-user-") as folder:
        Path(folder).chmod(0o755)
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_a_folder_that_may_not_be_written_to_is_refused() -> None:
    with _ordinary_user() as folder:
        folder.chmod(0o555)
        for state in (folder, folder / ".susy"):
            with pytest.raises(ConfigurationError, match="cannot be used"), locked_folder(state, VERSION):
                pass


def test_files_of_another_user_are_refused() -> None:
    with _ordinary_user() as folder:
        os.seteuid(0)
        _cluster(folder)
        os.seteuid(65534)
        with pytest.raises(ConfigurationError, match="belongs to another user"), locked_folder(folder, VERSION):
            pass


@pytest.fixture
def enterable(processes: Processes) -> Iterator[Processes]:
    """Processes in a folder that the embedded Postgres, which runs as another user for root, can enter."""
    with tempfile.TemporaryDirectory(prefix="susy-up-") as folder:
        Path(folder).chmod(0o755)
        processes.folder = Path(folder)
        yield processes
        processes.stop()


def test_a_second_start_leaves_the_first_one_alone(enterable: Processes, susy: Susy) -> None:
    variables = {"SUSY_WEIGHTS": "demo", "SUSY_DATABASE_URL": "", "SUSY_REDIS_URL": ""}
    first = enterable.start("up", **variables)
    first.eventually(lambda: "susy is up" in first.output(), 90)
    second = enterable.run("up", **variables)
    assert second.code == 2
    assert f"in use by process {first.pid}" in second.stderr
    doctor = susy("doctor", folder=enterable.folder)
    assert "reachable, schema up to date" in doctor.stdout, "the first one's servers answer"
    assert "noeviction" in doctor.stdout
    first.terminate()
    assert first.wait(60) == 0


def test_what_postgres_says_itself_is_passed_on(enterable: Processes) -> None:
    data = _cluster(enterable.folder / ".susy")
    data.chmod(0o700)
    result = enterable.run("up", SUSY_WEIGHTS="demo", SUSY_DATABASE_URL="", SUSY_REDIS_URL="")
    assert result.code == 2
    [line] = [line for line in result.stderr.splitlines() if line.startswith("susy: ")]
    assert "did not start" in line
    assert "postgresql.conf" in line or "pg_control" in line or "directory" in line, line
