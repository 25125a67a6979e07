"""Images in buckets and behind URLs, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schema.states import Lane
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.seaweedfs import SeaweedFS
from tests.support.web import Authority, WebServer, web_server


@pytest.fixture
def web(authority: Authority) -> Any:
    with web_server(authority, "127.0.0.1") as server:
        yield server


@pytest.fixture
def command_variables(
    seaweedfs: SeaweedFS, bucket: str, web: WebServer, authority: Authority, random_weights: Path, monkeypatch: Any
) -> dict[str, str]:
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    return {
        "SUSY_WEIGHTS": str(random_weights),
        "SUSY_BUCKETS": f"s3://{bucket}/uploads/",
        "SUSY_URL_HOSTS": "127.0.0.1",
        "SUSY_URL_NETWORKS": "127.0.0.0/8",
        "SUSY_URL_PORTS": str(web.port),
        "SUSY_CA_FILE": str(authority.ca_file),
    }


@pytest.fixture
def remote(seaweedfs: SeaweedFS, bucket: str, web: WebServer, images: Path) -> tuple[str, str]:
    """An object and a URL, each of an image."""
    seaweedfs.client().put_object(Bucket=bucket, Key="uploads/a b.png", Body=(images / "a.png").read_bytes())
    web.serve("/b.png", (images / "b.png").read_bytes())
    return f"s3://{bucket}/uploads/a b.png", f"https://127.0.0.1:{web.port}/b.png?signature=hunter2"


def test_check_examines_what_lies_elsewhere(susy: Susy, remote: tuple[str, str], bucket: str, images: Path) -> None:
    missing = f"s3://{bucket}/uploads/missing"
    result = susy("check", *remote, missing, "https://169.254.169.254/", images / "small.png", "--json")
    first, second, third, fourth, fifth = result.documents
    assert result.code == 1
    assert (first["path"], first["width"]) == (remote[0], 300)
    assert (second["path"], second["width"]) == (remote[1].partition("?")[0], 500)
    assert (third["error"]["code"], fourth["error"]["code"]) == ("not_found", "port_refused")
    assert fifth["reasons"][0] == "too_small"
    assert "hunter2" not in result.stdout + result.stderr


def test_submit_refuses_what_no_worker_would_read(
    susy: Susy, database_url: str, redis_url: str, remote: tuple[str, str], bucket: str, run: Sql
) -> None:
    variables = {"SUSY_DATABASE_URL": database_url, "SUSY_REDIS_URL": redis_url}
    refused = (f"s3://{bucket}/private/a", "https://user:hunter2@127.0.0.1/", "gopher://127.0.0.1/_x", "http://127.1/")
    result = susy("submit", *remote, *refused, "--json", **variables)
    assert result.code == 1
    codes = [document["error"]["code"] for document in result.documents if "error" in document]
    assert codes == ["bucket_refused", "url_credentials", "unsupported_source", "url_invalid"]
    assert [uri for (uri,) in run("SELECT uri FROM susy.checks ORDER BY id")] == list(remote)
    assert "hunter2" not in result.stdout + result.stderr


def test_a_manifest_may_name_objects_and_urls(
    susy: Susy, database_url: str, redis_url: str, remote: tuple[str, str], bucket: str, run: Sql, tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.csv"
    rows = [f'"{uri}",v1' for uri in (*remote, f"s3://{bucket}/private/a")]
    manifest.write_text("\n".join(["uri,etag", *rows]) + "\n")
    variables = {"SUSY_DATABASE_URL": database_url, "SUSY_REDIS_URL": redis_url}
    result = susy("backlog", "import", manifest, "--source", "archive", "--json", **variables)
    assert (result.document["accepted"], result.document["rejected"]) == (2, 1), result
    found = run("SELECT uri, etag, lane FROM susy.checks ORDER BY uri DESC")
    assert found == [(uri, "v1", str(Lane.BACKFILL)) for uri in remote]


def test_doctor_says_what_may_be_read_and_whether_it_can_be(susy: Susy, bucket: str, web: WebServer) -> None:
    shown = susy("doctor", COLUMNS="300").stdout
    assert f"s3://{bucket}/uploads/ (reachable)" in shown
    assert f"127.0.0.1, by https, at ports {web.port}" in shown
    assert "no file is read" in shown
    missing = susy("doctor", SUSY_BUCKETS="s3://no-such-bucket", COLUMNS="300").stdout
    assert "the bucket of s3://no-such-bucket/ does not exist" in missing
