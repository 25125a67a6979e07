"""Items of Redis: which are messages, and what becomes of the others."""

from __future__ import annotations

import base64
import json

import pytest

from schema.messages import CHECK_TASK, SUBMIT_TASK
from worker.queue.messages import REJECT_TASK, valid_or_wrapped


def item(task: str = SUBMIT_TASK, body: str = "[[], {}, {}]", **changes: object) -> str:
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"task": task, "id": "7"},
            "properties": {"delivery_tag": "8", "delivery_info": {}, "body_encoding": "base64"},
            **changes,
        }
    )


@pytest.mark.parametrize("task", [CHECK_TASK, SUBMIT_TASK])
def test_a_message_for_one_of_our_tasks_goes_through_untouched(task: str) -> None:
    given = item(task).encode()
    assert valid_or_wrapped(given) is given


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("not JSON", "the message is not JSON"),
        ("[" * 100_000, "the message is not JSON"),
        ("17", "the message is not a JSON object"),
        (item("susy.other"), "headers.task is 'susy.other'"),
        (item(REJECT_TASK), "headers.task is 'susy.reject'"),
        (item(headers=None), "headers is not a JSON object"),
        (item(properties={"delivery_info": {}}), "properties.delivery_tag is missing"),
        (item(body="{}"), "body is not a JSON array"),
        (item(**{"content-type": "application/x-python-serialize"}), "content-type is"),
        (b"\xff\x00", "the message is not JSON"),
    ],
)
def test_an_invalid_item_is_wrapped_whole_with_the_reason(given: str | bytes, reason: str) -> None:
    wrapped = json.loads(valid_or_wrapped(given))
    assert wrapped["headers"]["task"] == REJECT_TASK
    arguments, keywords, _ = json.loads(base64.b64decode(wrapped["body"]))
    assert arguments == []
    assert reason in keywords["reason"]
    assert keywords["raw"] == (given.decode(errors="replace") if isinstance(given, bytes) else given)
