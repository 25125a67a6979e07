"""Items of Redis: which are messages, and what becomes of the others."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from redis import Redis

from schema.messages import CHECK_TASK, SUBMIT_TASK
from worker.queue import tasks
from worker.queue.messages import HINT, MAX_RAW, REJECT_TASK, check_of_message, normalize_messages, normalized


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


@pytest.mark.parametrize(("task", "queue"), [(CHECK_TASK, "live"), (SUBMIT_TASK, "submit")])
def test_a_message_for_one_of_our_tasks_keeps_task_id_and_arguments(task: str, queue: str) -> None:
    body = '[["argument"], {"key": "\\ud83d"}, {"chain": ["another"], "errbacks": []}]'
    obeyed = {"expires": "2020-01-01T00:00:00Z", "eta": "2099-01-01T00:00:00Z", "timelimit": [1, 1], "stamps": {}}
    properties = {"delivery_tag": "8", "delivery_info": {"routing_key": "nowhere"}, "body_encoding": "base64"}
    given = item(task, body, headers={"task": task, "id": "7", **obeyed}, properties=properties)
    message = json.loads(normalized(given.encode()))
    assert message["headers"] == {"task": task, "id": "7"}
    assert message["properties"]["delivery_tag"] != "8", "two producers may choose the same"
    assert message["properties"]["delivery_info"] == {"exchange": "", "routing_key": queue}
    assert json.loads(base64.b64decode(message["body"])) == [["argument"], {"key": "\ud83d"}, {}]


def test_only_a_check_with_an_id_is_marked_as_a_hint_whatever_its_headers_say() -> None:
    check_id = "0b6c1f0e-5a55-4c8f-9d0e-0a8f3f6c2b11"
    assert str(check_of_message(item(CHECK_TASK, f'[["{check_id}"], {{}}, {{}}]'))) == check_id
    for task, args in [(CHECK_TASK, "[]"), (CHECK_TASK, '["x"]'), (SUBMIT_TASK, f'["{check_id}"]')]:
        headers = {"task": task, "id": "7", HINT: check_id}
        assert check_of_message(item(task, f"[{args}, {{}}, {{}}]", headers=headers)) is None
    assert check_of_message("garbage") is None


def test_a_check_stays_in_its_lane() -> None:
    properties = {"delivery_tag": "8", "delivery_info": {"routing_key": "backfill"}, "body_encoding": "base64"}
    message = json.loads(normalized(item(CHECK_TASK, properties=properties)))
    assert message["properties"]["delivery_info"]["routing_key"] == "backfill"


@pytest.mark.parametrize(("key", "ours"), [("live", True), ("live\x06\x163", True), ("answers", False)])
def test_only_items_of_the_named_queues_are_normalized(redis_url: str, key: str, ours: bool) -> None:
    with Redis.from_url(redis_url) as client:
        normalize_messages(client, "prefix-", ["live"])
        client.lpush(f"prefix-{key}", "an item")
        _, item = client.brpop([f"prefix-{key}"])
    assert item == b"an item" if not ours else json.loads(item)["headers"]["task"] == REJECT_TASK


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("not JSON", "the message is not JSON"),
        ("[" * 100_000, "the message is not JSON"),
        ("17", "the message is not a JSON object"),
        (item("susy.other"), "headers.task is 'susy.other'"),
        (item(headers={"task": [SUBMIT_TASK], "id": "7"}), "headers.task is ['susy.submit']"),
        (item(headers={"task": {}, "id": "7"}), "headers.task is {}"),
        (item(body='[[], {"a": [{"__type__": "uuid", "__value__": 1}]}, {}]'), "which Celery reserves"),
        (item(body='[[{"__type__": "unheard", "__value__": 1}], {}, {}]'), "which Celery reserves"),
        (item(REJECT_TASK), "headers.task is 'susy.reject'"),
        (item(headers=None), "headers is not a JSON object"),
        (item(properties={"delivery_info": {}, "body_encoding": "base64"}), "properties.delivery_tag is missing"),
        (item(body="{}"), "body is not a JSON array"),
        (item(body='[[], {"self": 1}, {}]'), "an argument is called self"),
        (item(**{"content-type": "application/x-python-serialize"}), "content-type is"),
        (b"\xff\x00", "the message is not JSON"),
        (item(headers={"task": SUBMIT_TASK, "id": "7", "compression": "application/x-gzip"}), "headers.compression is"),
        (item(headers={"task": SUBMIT_TASK}), "headers.id is missing"),
        (item(headers={"task": SUBMIT_TASK, "id": "\ud83d"}), "headers.id must be"),
        (item(headers={"task": SUBMIT_TASK, "id": "x" * 256}), "headers.id must be"),
    ],
)
def test_an_invalid_item_is_wrapped_whole_with_the_reason(given: str | bytes, reason: str) -> None:
    wrapped = json.loads(normalized(given))
    assert wrapped["headers"]["task"] == REJECT_TASK
    arguments, keywords, _ = json.loads(base64.b64decode(wrapped["body"]))
    assert arguments == []
    assert reason in keywords["reason"]
    assert keywords["raw"] == (given.decode(errors="replace") if isinstance(given, bytes) else given)[:MAX_RAW]


@pytest.mark.parametrize("given", [b"\xff" * 1_000_000, item("x" * 1_000_000).encode()])
def test_an_invalid_item_of_any_size_is_cut_to_what_the_ledger_keeps(given: bytes) -> None:
    assert len(normalized(given)) < 100_000


@pytest.mark.parametrize(
    "change", [None, True, 0, -1.5, "", "\ud83d", "\x00", [], [[]], {}, {"__type__": 1}, "9" * 5000]
)
@pytest.mark.parametrize(
    "place",
    [
        ("body",), ("content-type",), ("content-encoding",), ("headers",), ("headers", "task"), ("headers", "id"),
        ("headers", "compression"), ("properties",), ("properties", "delivery_tag"), ("properties", "delivery_info"),
        ("properties", "delivery_info", "routing_key"), ("properties", "body_encoding"),
    ],
)  # fmt: skip
def test_no_value_in_any_place_raises(place: tuple[str, ...], change: object) -> None:
    message = json.loads(item())
    *outer, last = place
    inner = message
    for name in outer:
        inner = inner[name]
    inner[last] = change
    rebuilt = json.loads(normalized(json.dumps(message)))
    assert rebuilt["headers"]["task"] in (SUBMIT_TASK, REJECT_TASK)


@pytest.mark.parametrize("task", [tasks.submit, tasks.check])
def test_no_name_of_an_argument_collides_with_a_parameter(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery would log the TypeError and acknowledge the message: it would be lost."""
    rejected: list[Any] = []
    monkeypatch.setattr(tasks, "_store_rejected", lambda *stored: rejected.append(stored))
    monkeypatch.setattr(tasks.current, "get", lambda: None)
    task.run(**dict.fromkeys(("self", "args", "kwargs", "task", "task_id", "cls"), 1))
    assert len(rejected) == 1
