"""A real S3 server with versions, multipart and tus uploads, and notifications over HTTP: SeaweedFS from its wheel."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually

ACCESS_KEY, SECRET_KEY, REGION = "test-access-key", "test-secret-key", "us-east-1"
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


class SeaweedFS:
    """All of SeaweedFS in one process, on free ports of the loopback, with its data under `folder`."""

    def __init__(self, folder: Path, *, notify: str | None = None) -> None:
        """`notify` is the URL that changes of buckets are reported to."""
        folder.mkdir(exist_ok=True)
        data = folder / "data"
        data.mkdir(exist_ok=True)
        if notify:
            (folder / "notification.toml").write_text(
                f'[notification.webhook]\nenabled = true\nendpoint = "{notify}"\nbearer_token = "{TOKEN}"\n'
                "timeout_seconds = 10\nmax_retries = 5\nbackoff_seconds = 1\nmax_backoff_seconds = 2\nworkers = 4\n"
                'buffer_size = 1000\npath_prefixes = ["/buckets/"]\n'
            )
        names = ("master.port", "volume.port", "filer.port", "s3.port", "admin.port")
        ports = dict(zip((*names, *(f"{name}.grpc" for name in names)), _free_ports(2 * len(names)), strict=True))
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        self.filer = f"http://127.0.0.1:{ports['filer.port']}"
        self.log = folder / "weed.log"
        options = {"dir": data, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "webdav": "false", "admin.ui": "false"}
        options |= {"master.telemetry": "false", "s3.port.iceberg": 0, "s3.port.lance": 0, **ports}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    Path(sys.executable).with_name("weed"),
                    "mini",
                    *(f"-{name}={value}" for name, value in options.items()),
                ],
                cwd=folder,  # where it looks for notification.toml
                env=os.environ | {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        eventually(self._answers, 60, lambda: self.log.read_text(errors="replace")[-4000:])

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which clients of S3 find this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def client(self) -> Any:
        """boto3's client of S3."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        )

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log.read_text(errors="replace")[-4000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
        return False


def _free_ports(count: int) -> list[int]:
    """Different TCP ports of the loopback interface that nobody listens on."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


@pytest.fixture(scope="session")
def notifications() -> Iterator[Receiver]:
    """What SeaweedFS reports to."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory, notifications: Receiver) -> Iterator[SeaweedFS]:
    """A server for all tests of a process; each takes a `bucket` of its own."""
    server = SeaweedFS(tmp_path_factory.mktemp("seaweedfs"), notify=notifications.url)
    yield server
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
