"""`susy submit`: the options that reach the ledger."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from schema.access import Scope
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.http_service import Service
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


class TestOverHttp:
    """With the address of a service, and without its servers."""

    @pytest.fixture
    def serve_changes(self, images: Path) -> dict[str, object]:
        return {"storage": str(images / "storage")}

    @pytest.fixture
    def command_variables(self, service: Service, store: Store) -> dict[str, str]:
        return {"SUSY_URL": service.url, "SUSY_API_KEY": store.keys.add("cli", [Scope.SUBMIT])}

    def test_a_file_is_uploaded_and_a_uri_is_named(
        self, susy: Susy, store: Store, run: Sql, images: Path, tmp_path: Path
    ) -> None:
        elsewhere = tmp_path / "elsewhere.png"
        elsewhere.write_bytes((images / "a.png").read_bytes())
        result = susy("submit", "elsewhere.png", "s3://bucket/b.png", "absent.png", "images", "--json")
        uploaded, named, absent, folder = result.documents
        assert (result.code, absent["error"]["code"], folder["error"]["code"]) == (1, "not_found", "unreadable")
        assert Path(store.show(uploaded["check_id"]).uri).read_bytes() == elsewhere.read_bytes()
        assert store.show(named["check_id"]).uri == "s3://bucket/b.png"
        assert run("SELECT count(*) FROM susy.checks") == [(2,)]

    def test_a_refused_key_is_told_without_repeating_it(self, susy: Susy, images: Path) -> None:
        result = susy("submit", images / "a.png", SUSY_API_KEY="susy_other")
        assert result.code == 1
        assert "unknown_key" in result.stderr
        assert "susy_other" not in result.stderr
