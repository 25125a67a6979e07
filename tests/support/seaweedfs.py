"""A real SeaweedFS for the tests of a file, and what it reports of uploads."""

from __future__ import annotations

import http.server
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tools.seaweedfs import SeaweedFS

TOKEN = "token-of-the-notifications"


class Receiver:
    """An HTTP server on the loopback that keeps what is posted to it, and may pass it on."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.forward: Callable[[bytes, Mapping[str, str]], int] | None = None
        """Called with each body and its headers (names in lower case); returns the status to answer with."""
        received = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received.bodies.append(body)
                received.headers.append(headers)
                self.send_response(received.forward(body, headers) if received.forward else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def notifications() -> Iterator[Receiver]:
    """What SeaweedFS reports to."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory, notifications: Receiver) -> Iterator[SeaweedFS]:
    """A server for all tests of a file; each takes a `bucket` of its own.

    Starting one takes less than leaving it idle for the rest of the session.
    """
    server = SeaweedFS(tmp_path_factory.mktemp("seaweedfs"))
    try:
        server.start(notify=notifications.url, token=TOKEN)
        yield server
    finally:
        server.close()


@pytest.fixture
def bucket(seaweedfs: SeaweedFS) -> str:
    """The name of an empty bucket."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    seaweedfs.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def notified(notifications: Receiver, bucket: str) -> Callable[[], list[dict[str, Any]]]:
    """The notifications about `bucket` so far, in the order of their arrival."""

    def about() -> list[dict[str, Any]]:
        documents = [json.loads(body) for body in list(notifications.bodies)]
        return [document for document in documents if document["key"].startswith(f"/buckets/{bucket}/")]

    return about
