"""The `susy backlog` commands on real servers: in this process where that is enough, because it is quicker."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.store.conftest import Sql, run
from worker.cli import main
from worker.queue.publisher import Publisher
from worker.settings import Settings, load_settings

__all__ = ["Sql", "run"]

FILL = """
INSERT INTO susy.checks (id, source, external_id, uri, lane, next_attempt_at, created_at)
SELECT gen_random_uuid(), %s, gen_random_uuid()::text, '/images/' || i || '.jpg', %s, at, at
FROM generate_series(1, %s) AS i, LATERAL (SELECT now() - interval '1 hour' + i * interval '1 ms' AS at) AS times
"""
"""Source, lane, how many: checks that wait, the first one longest."""


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The object it printed."""
        return json.loads(self.stdout)


Susy = Callable[..., Result]


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """The folder that holds images."""
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(database_url: str, redis_url: str, key_prefix: str, roots: Path) -> Settings:
    return load_settings(database_url=database_url, redis_url=redis_url, key_prefix=key_prefix, roots=(roots,))


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    with Publisher(settings) as publisher:
        yield publisher


@pytest.fixture
def environment(database_url: str, roots: Path) -> dict[str, str]:
    """What the commands need. No Redis: none of them talks to it."""
    return {"SUSY_DATABASE_URL": database_url, "SUSY_ROOTS": str(roots)}


@pytest.fixture
def susy(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Susy:
    """`susy backlog ARGUMENTS`, in `tmp_path` and without a terminal."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def susy(*arguments: str | Path, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "argv", ["susy", "backlog", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.run()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, printed.out, printed.err)

    return susy
