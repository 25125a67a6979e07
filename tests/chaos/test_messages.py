"""Messages nobody can work on."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import uuid4

from tests.chaos.deployment import Deployment
from tests.support.waiting import eventually


def message(task: str | None = "susy.check", body: Any = "[[], {}, {}]", **changes: Any) -> str:
    headers = {"id": str(uuid4())} | ({"task": task} if task else {})
    whole: dict[str, Any] = {
        "body": base64.b64encode(body.encode()).decode() if isinstance(body, str) else body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers,
        "properties": {
            "delivery_tag": str(uuid4()),
            "delivery_info": {"exchange": "", "routing_key": "live"},
            "body_encoding": "base64",
        },
    }
    return json.dumps({name: value for name, value in (whole | changes).items() if value is not None})


INVALID: list[str | bytes] = [
    message("susy.tidy_up"),
    message("celery.chord_unlock"),
    message(None),
    message("susy.reject"),
    message(headers={"task": ["susy.check"], "id": "1"}),
    message("susy.submit", body='[[], {"attributes": {"a": {"__type__": "uuid", "__value__": 1}}}, {}]'),
    message("susy.submit", body='[[], {"self": 1}, {}]'),
    message(body="this is no JSON"),
    message(body="{}"),
    message(body="[1, 2, 3]"),
    message(body=None),
    message(body=17),
    message(headers=None),
    message(headers=[]),
    message(properties=None),
    message(properties={}),
    message(**{"content-type": "application/x-python-serialize"}),
    message(body='[["no id"], {}, {}]'),
    message("susy.submit", body='[[], {"version": 9}, {}]'),
    "{}",
    "[]",
    "17",
    "no JSON at all",
    b"\xff\xfe\x00 bytes",
    b"",
    "[" * 5000,
]


def test_messages_for_an_unknown_task_and_without_a_form_are_kept_and_stop_nothing(deployment: Deployment) -> None:
    worker = deployment.ready_worker()
    with deployment.valkey.client() as client:
        for invalid in INVALID:
            client.lpush("susy:live", invalid)
        deployment.submit(5)
        eventually(
            lambda: deployment.sql("SELECT count(*) FROM susy.rejected_messages") == [(len(INVALID),)],
            60,
            lambda: str(deployment.sql("SELECT task, message, body FROM susy.rejected_messages")) + worker.output(),
        )
        deployment.verify()
        eventually(lambda: client.hlen("susy:unacked") == 0, 30)  # acknowledged
        assert client.llen("susy:live") == 0
    assert worker.poll() is None
    kept = deployment.sql("SELECT DISTINCT code FROM susy.rejected_messages")
    assert kept == [("invalid_message",)]


def test_a_thousand_invalid_messages_at_once_are_all_kept_and_logged_in_few_lines(deployment: Deployment) -> None:
    fields: list[dict[str, Any]] = [{"version": 9}, {}, {"version": 1, "source": "s", "uri": "x" * 100_000}]
    fields += [{"version": 1, "source": half, "external_id": half, "uri": half} for half in ("\ud800", "\udfff x")]
    kinds = [*INVALID, *(message("susy.submit", body=json.dumps([[], each, {}])) for each in fields)]
    invalid = [kinds[number % len(kinds)] for number in range(1000)]
    worker = deployment.ready_worker()
    with deployment.valkey.client() as client:
        with client.pipeline() as pipeline:
            for number, each in enumerate(invalid):
                pipeline.lpush(("susy:live", "susy:submit", "susy:backfill")[number % 3], each)
            pipeline.execute()
        deployment.submit(20)
        deployment.reconciler()
        stored = "SELECT count(*) FROM susy.rejected_messages"
        eventually(lambda: deployment.sql(stored) == [(len(invalid),)], 120, worker.output)
        deployment.verify()
        eventually(lambda: client.hlen("susy:unacked") == 0, 30)
    assert worker.poll() is None
    lines = [line for line in worker.output().splitlines() if '"check_done"' not in line]
    assert sum('"message_rejected"' in line for line in lines) == 20
    assert len(lines) < 40
    assert "Traceback" not in worker.output()
