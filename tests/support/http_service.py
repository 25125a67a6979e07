"""The HTTP service in a thread of the test's process, and a client with a key."""

from __future__ import annotations

import functools
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from tests.support.logins import url_of_login
from tests.support.servers import free_port
from tests.support.waiting import eventually
from worker.serve.app import create_app
from worker.serve.server import server_config
from worker.serve.shared.times import DEFAULT_TIMES, TimeLimits
from worker.settings import Settings


@dataclass(frozen=True)
class Answer:
    """What the service answered."""

    status: int
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The error code of a problem, after a look at the form that all problems have."""
        if self.headers.get("content-type") != "application/problem+json":
            return None
        problem = self.document
        assert problem.keys() >= {"type", "title", "status", "detail", "code"}
        assert problem["status"] == self.status
        assert problem["type"] == f"urn:susy-worker:error:{problem['code']}"
        code: str = problem["code"]
        return code


@dataclass(frozen=True)
class Client:
    """Sends requests with one key."""

    url: str
    key: str | None = None

    def __call__(
        self, method: str, path: str, content: Any = None, *, key: str | None = None, **headers: str
    ) -> Answer:
        """`content` is bytes, or anything else as JSON. Headers are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key or self.key:
            sent.setdefault("Authorization", f"Bearer {key or self.key}")
        body = content
        if content is not None and not isinstance(content, bytes):
            body = json.dumps(content).encode()
            sent.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path, data=body, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, _lower(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read())

    def get(self, path: str, **options: Any) -> Answer:
        return self("GET", path, **options)

    def post(self, path: str, content: Any = None, **options: Any) -> Answer:
        return self("POST", path, content if content is not None else b"", **options)


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    port: int
    server: uvicorn.Server

    def client(self, key: str | None = None) -> Client:
        return Client(self.url, key)


@contextmanager
def running_service(settings: Settings, times: TimeLimits = DEFAULT_TIMES) -> Iterator[Service]:
    """The service on a free port of the loopback interface, as `susy serve` runs it, in a thread."""
    port = free_port()
    here = settings.model_copy(update={"serve_host": "127.0.0.1", "serve_port": port, "serve_workers": 1})
    config = server_config(here, functools.partial(create_app, here, times=times))
    config.host, config.port = here.serve_host, here.serve_port
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="service")
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive(), 30)
        assert server.started, "the service did not start"
        yield Service(f"http://127.0.0.1:{port}", port, server)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.fixture
def serve_changes() -> dict[str, object]:
    """Settings of the service that a test file changes."""
    return {}


@pytest.fixture
def times() -> TimeLimits:
    """Seconds that a test may shorten."""
    return DEFAULT_TIMES


@pytest.fixture
def login() -> str | None:
    """The login of the service, where it is not that of the tests."""
    return None


@pytest.fixture
def service(
    settings: Settings, serve_changes: dict[str, object], times: TimeLimits, login: str | None
) -> Iterator[Service]:
    """The service on the test's database and Redis."""
    if login is not None:
        url = url_of_login(settings.require_database_url(), login)
        settings = settings.model_copy(update={"database_url": url})
    with running_service(settings.model_copy(update=serve_changes), times) as service:
        yield service
