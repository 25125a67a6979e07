from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import flask
import pytest

from schema.states import Decision
from susy_worker.guards.flask import guard_uploads, judgements
from tests.guards.conftest import Working
from worker.client import Client

SEEN: list[str] = []


@pytest.fixture
def post(gate: Client) -> Callable[..., Any]:
    """Send a form to an app with the guard of a real gate."""
    app = flask.Flask(__name__)
    SEEN.clear()

    @app.post("/avatars/<user>")
    @guard_uploads(source="avatars", fields=["image"], within=20, client=gate)
    def upload(user: str) -> dict[str, Any]:
        SEEN.append(user)
        content = flask.request.files["image"].read().decode()
        return {"content": content, **{field: [j.answer for j in several] for field, several in judgements().items()}}

    client = app.test_client()
    return lambda **fields: client.post("/avatars/ada", data=fields)


def file(content: bytes = b"an image") -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), "a.jpg"


@pytest.mark.parametrize(("decision", "answer"), [(Decision.AUTHENTIC, "allow"), (Decision.INCONCLUSIVE, "hold")])
def test_the_view_runs_with_the_file_and_what_was_said_of_it(
    post: Callable[..., Any], decides: Working, decision: Decision, answer: str
) -> None:
    with decides(decision):
        response = post(image=file(), document=file(b"not guarded"))
    assert (response.status_code, response.json) == (200, {"content": "an image", "image": [answer]})


def test_a_refused_file_never_reaches_the_view(post: Callable[..., Any], decides: Working) -> None:
    with decides(Decision.SYNTHETIC):
        response = post(image=file())
    assert (response.status_code, response.content_type) == (422, "application/problem+json")
    assert (response.json["code"], response.json["field"]) == ("upload_refused", "image")
    assert "score" not in response.json
    assert SEEN == []


def test_one_refused_file_of_several_refuses_the_request(post: Callable[..., Any], decides: Working) -> None:
    with decides(Decision.AUTHENTIC):
        response = post(image=[file(), file(b"x" * 100_001)])
    assert (response.status_code, response.json["reason"]) == (422, "too_large")
    assert SEEN == []
