import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import fastapi
import pytest
import uvicorn

from schema.states import Decision
from susy_worker.guards.fastapi import Judgements, UploadGuard
from tests.guards.conftest import Working
from tests.support.servers import free_port
from tests.support.waiting import eventually
from worker.client import Client


@pytest.fixture
def post(gate: Client) -> Iterator[Callable[[bytes], tuple[int, Any]]]:
    """Send a form to an app on a real server, with the guard of a real gate."""
    app = fastapi.FastAPI()
    guard = UploadGuard(source="avatars", within=20, client=gate)

    @app.post("/avatars")
    async def upload(image: fastapi.UploadFile, judged: Annotated[Judgements, fastapi.Depends(guard)]) -> Any:
        return {"content": (await image.read()).decode(), "answer": judged["image"][0].answer}

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started, 20)
    yield lambda content: send(f"http://127.0.0.1:{port}/avatars", content)
    server.should_exit = True
    thread.join()


def send(url: str, content: bytes) -> tuple[int, Any]:
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + content + b"\r\n--b--\r\n"
    request = urllib.request.Request(url, body, {"Content-Type": "multipart/form-data; boundary=b"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_route_runs_unless_a_file_is_refused(post: Callable[[bytes], tuple[int, Any]], decides: Working) -> None:
    for decision, answer in ((Decision.AUTHENTIC, "allow"), (Decision.INCONCLUSIVE, "hold")):
        with decides(decision):
            assert post(b"an image") == (200, {"content": "an image", "answer": answer})
    with decides(Decision.SYNTHETIC):
        status, document = post(b"an image")
    assert (status, document["detail"]["code"]) == (422, "upload_refused")
