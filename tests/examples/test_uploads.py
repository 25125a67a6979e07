"""The upload handlers in `examples/`: each as its own server, from the upload to the verified callback."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schema.access import Scope
from schema.states import Decision, KeyKind
from tests.support.checkout import CHECKOUT, DOCS
from tests.support.commands import Processes, run
from tests.support.documentation import fenced
from tests.support.http_service import Service
from tests.support.ledger_worker import working
from tests.support.node import install_packages
from tests.support.servers import free_port
from tests.support.waiting import eventually
from worker.callbacks.deliver import Deliverer
from worker.callbacks.signing import SigningKey
from worker.settings import Settings
from worker.store import Store
from worker.store.callbacks import CallbackStore

EXAMPLES = CHECKOUT / "examples"
IMAGE = b"\x89PNG\r\n\x1a\n an image"
FORM = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + IMAGE + b"\r\n--b--\r\n"


@pytest.fixture
def serve_changes(images: Path) -> dict[str, object]:
    return {"storage": str(images / "storage")}


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example for Express, with its packages."""
    folder = tmp_path_factory.mktemp("express")
    shutil.copy(EXAMPLES / "upload_express" / "package.json", folder)
    install_packages(folder)
    shutil.copy(EXAMPLES / "upload_express" / "server.js", folder)
    return folder


@dataclass(frozen=True)
class Example:
    """A platform that runs."""

    url: str
    upload_headers: dict[str, str]
    upload_body: bytes

    def upload(self) -> tuple[int, Any]:
        return _ask(f"{self.url}/avatars", self.upload_body, self.upload_headers)

    def status(self, check_id: str) -> str:
        status: str = _ask(f"{self.url}/avatars/{check_id}")[1]["status"]
        return status


def _ask(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            content = error.read()
        return error.code, json.loads(content) if content.startswith(b"{") else content


@pytest.fixture
def deliverer(settings: Settings, callbacks: CallbackStore) -> Iterator[None]:
    stopped = threading.Event()
    thread = threading.Thread(target=Deliverer(callbacks, settings).run, args=(stopped,))
    thread.start()
    yield
    stopped.set()
    thread.join()


@pytest.fixture
def callbacks(database_url: str) -> Iterator[CallbackStore]:
    with CallbackStore(database_url, pool_size=4) as callbacks:
        yield callbacks


@pytest.fixture
def start(
    processes: Processes, service: Service, store: Store, callbacks: CallbackStore, deliverer: None, tmp_path: Path
) -> Callable[..., Example]:
    """Start an example's server, and register it as the endpoint of its source."""

    def start(*command: str | Path, raw: bool = False) -> Example:
        port = free_port()
        key = SigningKey.new(KeyKind.HMAC)
        url = f"http://127.0.0.1:{port}"
        callbacks.add_endpoint(
            name="platform", url=f"{url}/hooks/susy", sources=("avatars",), allow_private=True,
            kind=key.kind, secret=key.secret,
        )  # fmt: skip
        process = processes.spawn(
            *(str(word).replace("PORT", str(port)) for word in command),
            SUSY_URL=service.url,
            SUSY_API_KEY=store.keys.add("platform", [Scope.SUBMIT]),
            CALLBACK_SECRET=key.shared,
            CALLBACK_DATABASE=str(tmp_path / "callbacks.sqlite3"),
            GATE_SECONDS="0.2",
            PORT=str(port),
            PYTHONPATH=os.pathsep.join((str(CHECKOUT), str(EXAMPLES))),
        )
        process.eventually(lambda: _answers(url), 60)
        if raw:
            return Example(url, {"Content-Type": "image/png"}, IMAGE)
        return Example(url, {"Content-Type": "multipart/form-data; boundary=b"}, FORM)

    return start


def _answers(url: str) -> bool:
    try:
        _ask(f"{url}/avatars/none")
    except OSError:
        return False
    return True


def uploads_are_published_when_their_callbacks_say_so(example: Example, store: Store, database_url: str) -> None:
    """An image that waits, one that is decided in time, one that is refused; and a callback that nobody signed."""
    status, held = example.upload()
    assert (status, held["status"]) == (202, "pending")
    check_id = held["check_id"]
    forged = {
        "webhook-id": "evt_1", "webhook-timestamp": "1790000000", "webhook-signature": "v1,AAAA",
        "Content-Type": "application/json",
    }  # fmt: skip
    verdict = {"check_id": check_id, "sequence": 99, "decision": "authentic", "state": "done"}
    lie = json.dumps({"type": "image.verdict.created", "data": verdict}).encode()
    assert _ask(f"{example.url}/hooks/susy", lie, forged)[0] == 401
    assert example.status(check_id) == "pending"
    with working(database_url, store, Decision.AUTHENTIC):
        eventually(lambda: example.status(check_id) == "published", 30)
    with working(database_url, store, Decision.SYNTHETIC):
        outcomes = []
        for _ in range(3):  # 0.2 s may be too short for a busy machine; then the callback refuses it
            status, refused = example.upload()
            if status == 202:
                eventually(lambda: example.status(refused["check_id"]) == "refused", 30)  # noqa: B023
            outcomes.append(status)
    assert set(outcomes) <= {202, 422}


def test_flask(start: Callable[..., Example], store: Store, database_url: str) -> None:
    example = start(sys.executable, "-m", "flask", "--app", "upload_flask", "run", "--port", "PORT")
    uploads_are_published_when_their_callbacks_say_so(example, store, database_url)


def test_django(start: Callable[..., Example], store: Store, database_url: str) -> None:
    example = start(sys.executable, EXAMPLES / "upload_django.py", "runserver", "PORT", "--noreload")
    uploads_are_published_when_their_callbacks_say_so(example, store, database_url)


@pytest.mark.registry
def test_express(start: Callable[..., Example], store: Store, database_url: str, node_modules: Path) -> None:
    example = start("node", node_modules / "server.js", raw=True)
    uploads_are_published_when_their_callbacks_say_so(example, store, database_url)


def test_the_code_of_the_page_is_what_the_guards_offer(tmp_path: Path) -> None:
    """The blocks of docs/upload-hooks.md are complete programs; the last one needs a service and a photograph."""
    *guards, _ = fenced(DOCS / "upload-hooks.md", "python")
    assert len(guards) == 3
    configured = "from django.conf import settings\nsettings.configure()\n"
    for block in guards:
        result = run(sys.executable, "-c", (configured if "django" in block else "") + block, folder=tmp_path)
        assert result.code == 0, result.stderr
