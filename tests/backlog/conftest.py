"""The `susy backlog` commands on real servers: in this process where that is enough, because it is quicker."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.support.commands import Susy
from tests.support.databases import Sql
from worker.settings import Settings, load_settings

__all__ = ["FILL", "Sql", "Susy"]

FILL = """
INSERT INTO susy.checks (id, source, external_id, uri, lane, next_attempt_at, created_at)
SELECT gen_random_uuid(), %s, gen_random_uuid()::text, '/images/' || i || '.jpg', %s, at, at
FROM generate_series(1, %s) AS i, LATERAL (SELECT now() - interval '1 hour' + i * interval '1 ms' AS at) AS times
"""
"""Source, lane, how many: checks that wait, the first one longest."""


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """The folder that holds images."""
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(database_url: str, redis_url: str, key_prefix: str, roots: Path) -> Settings:
    return load_settings(database_url=database_url, redis_url=redis_url, key_prefix=key_prefix, image_roots=(roots,))


@pytest.fixture
def environment(database_url: str, roots: Path) -> dict[str, str]:
    """What the commands need. No Redis: none of them talks to it."""
    return {"SUSY_DATABASE_URL": database_url, "SUSY_IMAGE_ROOTS": str(roots)}


@pytest.fixture
def command_variables(environment: dict[str, str]) -> dict[str, str]:
    return environment


@pytest.fixture
def susy(susy: Susy) -> Susy:
    """`susy backlog ARGUMENTS`."""
    return functools.partial(susy, "backlog")
