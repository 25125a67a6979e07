from __future__ import annotations

import io
import logging

import pytest

from schema.gate import GateAnswer
from schema.states import Decision
from tests.guards.conftest import Working
from tests.support.servers import free_port
from worker.client import Client
from worker.guards.judging import Guard
from worker.store import Store


@pytest.mark.parametrize(
    ("decision", "expected"),
    [(Decision.AUTHENTIC, "allow"), (Decision.SYNTHETIC, "refuse"), (Decision.INCONCLUSIVE, "hold")],
)
def test_a_file_is_judged_from_its_beginning_and_stands_there_again(
    gate: Client, decides: Working, store: Store, decision: Decision, expected: str
) -> None:
    file = io.BytesIO(b"an image")
    file.read(4)
    with decides(decision):
        judgement = Guard(source="avatars", within=20, client=gate).judge(file, external_id="u", attributes={"n": 1})
    assert (judgement.answer, judgement.reason, judgement.decision) == (expected, "decided", decision)
    assert file.read() == b"an image"
    assert judgement.check_id is not None
    check = store.show(judgement.check_id)
    assert (check.external_id, check.attributes) == ("u", {"n": 1})
    with open(check.uri, "rb") as stored:  # noqa: PTH123
        assert stored.read() == b"an image"


def test_a_file_that_the_service_takes_no_more_of_is_refused(gate: Client) -> None:
    judgement = Guard(source="avatars", client=gate).judge(io.BytesIO(b"x" * 100_001))
    assert (judgement.answer, judgement.reason, judgement.check_id) == ("refuse", "too_large", None)


@pytest.mark.parametrize("answer", GateAnswer)
def test_what_an_unreachable_service_means_is_the_callers_choice(
    answer: GateAnswer, caplog: pytest.LogCaptureFixture
) -> None:
    file = io.BytesIO(b"an image")
    with Client(url=f"http://127.0.0.1:{free_port()}", api_key="susy_secret", timeout=0.3) as nobody:
        guard = Guard(source="avatars", on_unavailable=answer, client=nobody)
        with caplog.at_level(logging.WARNING):
            judgement = guard.judge(file)
    assert (judgement.answer, judgement.reason) == (answer, "unavailable")
    assert "service_unavailable" in caplog.text
    assert "susy_secret" not in caplog.text
    assert file.tell() == 0


def test_a_refused_key_counts_as_unavailable_and_holds(gate: Client, store: Store) -> None:
    store.keys.revoke("hooks")
    with Client(url=gate._way._url, api_key="susy_other") as other:  # type: ignore[union-attr]
        judgement = Guard(source="avatars", client=other).judge(io.BytesIO(b"an image"))
    assert (judgement.answer, judgement.reason) == ("hold", "unavailable")
