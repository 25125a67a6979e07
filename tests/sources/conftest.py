"""Settings under which images are read by URL and from buckets of a real S3 server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.seaweedfs import SeaweedFS
from tests.support.web import HOST, Authority, WebServer
from worker.settings import Settings, load_settings
from worker.sources.sources import Sources

MakeSettings = Callable[..., Settings]


@pytest.fixture
def made(https: WebServer, authority: Authority, tmp_path: Path) -> MakeSettings:
    """Settings that allow URLs of the test's server, with changes."""

    def made(**changes: Any) -> Settings:
        defaults: dict[str, Any] = {
            "image_roots": (tmp_path,),
            "url_hosts": (HOST,),
            "url_networks": ("127.0.0.0/8",),
            "url_ports": (https.port,),
            "ca_file": authority.ca_file,
            "max_bytes": 1000,
            "fetch_timeout": 5.0,
        }
        return load_settings(**defaults | changes)

    return made


@pytest.fixture
def from_urls(made: MakeSettings) -> Iterator[Sources]:
    with Sources(made(), resolve=lambda host: ["127.0.0.1"]) as sources:
        yield sources


@pytest.fixture
def s3(seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Any:
    """boto3's client of the server that the environment names."""
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    return seaweedfs.client()


@pytest.fixture
def from_bucket(s3: Any, bucket: str, made: MakeSettings) -> Iterator[Sources]:
    """Reads what lies below `uploads/` in `bucket`."""
    with Sources(made(buckets=f"s3://{bucket}/uploads/")) as sources:
        yield sources
