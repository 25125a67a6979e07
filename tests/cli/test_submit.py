"""`susy submit`: the options that reach the ledger."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.commands import Susy
from tests.support.databases import Sql
from worker.settings import Settings
from worker.store import Store


@pytest.fixture
def command_variables(settings: Settings, images: Path) -> dict[str, str]:
    return {
        "SUSY_DATABASE_URL": settings.require_database_url(),
        "SUSY_REDIS_URL": settings.require_redis_url(),
        "SUSY_IMAGE_ROOTS": str(images),
    }


def test_a_check_may_be_given_some_time(susy: Susy, store: Store, run: Sql, images: Path) -> None:
    result = susy("submit", images / "a.png", "--expires-in", "1h30m", "--json")
    assert result.code == 0, result.stderr
    [(left,)] = run("SELECT expires_at - created_at FROM susy.checks")
    assert abs(left - timedelta(minutes=90)) < timedelta(minutes=1)
    assert susy("show", result.document["check_id"], "--json").document["expires_at"].endswith("+00:00")
    run("UPDATE susy.checks SET expires_at = now()")
    assert store.expire(limit=10) == 1
    assert susy("show", result.document["check_id"], "--json").document["state"] == "expired"


@pytest.mark.parametrize("text", ["soon", "-5", "1 fortnight", ""])
def test_a_time_that_is_none_is_refused_before_anything_is_submitted(
    susy: Susy, run: Sql, images: Path, text: str
) -> None:
    refused = susy("submit", images / "a.png", f"--expires-in={text}")
    assert refused.code == 2
    assert run("SELECT count(*) FROM susy.checks") == [(0,)]
