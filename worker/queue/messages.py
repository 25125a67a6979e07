"""Messages as they lie in Redis: what fits goes through untouched, anything else is wrapped to be kept.

kombu ends the whole worker over an item that is no message, and Celery discards a message whose task it does not
know. Both have left Redis by then. So an item is looked at the moment it arrives, and a invalid becomes the body of
a message of our own, which a task writes down for the operator and acknowledges like any other.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from uuid import uuid4

from redis import Redis

from schema.messages import CHECK_TASK, SUBMIT_TASK

REJECT_TASK = "susy.reject"
"""Keeps a invalid. Never sent through Redis; a worker makes it of what it cannot take."""
TASKS = frozenset({CHECK_TASK, SUBMIT_TASK})
_JSON = "application/json"


class _InvalidMessageError(Exception):
    """An item is no message for us; says why."""


def wrap_invalid_messages(client: Redis) -> None:
    """Wrap whatever this client pops with BRPOP and cannot be a message."""

    def checked(answer: Any, **_: Any) -> Any:
        if not answer:
            return answer
        key, item = answer
        return key, fitting(item)

    client.set_response_callback("BRPOP", checked)


def fitting(item: bytes | str) -> bytes | str:
    """The item itself if it is a message for one of our tasks, else a message that carries it."""
    raw = item.decode(errors="replace") if isinstance(item, bytes) else item
    try:
        _check(raw)
    except _InvalidMessageError as invalid:
        return _wrapped(raw, str(invalid))
    return item


def _check(raw: str) -> None:
    message = _object(_parsed(raw, "the message"), "the message")
    headers = _object(message.get("headers"), "headers")
    task = headers.get("task")
    if task not in TASKS:
        raise _InvalidMessageError(f"headers.task is {task!r}; the tasks are {', '.join(sorted(TASKS))}")
    if not isinstance(headers.get("id"), str):
        raise _InvalidMessageError("headers.id is missing")
    properties = _object(message.get("properties"), "properties")
    if not isinstance(properties.get("delivery_tag"), str):
        raise _InvalidMessageError("properties.delivery_tag is missing")
    _object(properties.get("delivery_info"), "properties.delivery_info")
    if message.get("content-type") != _JSON:
        raise _InvalidMessageError(f"content-type is {message.get('content-type')!r}; only {_JSON} is read")
    if str(message.get("content-encoding")).lower() not in ("utf-8", "us-ascii", "ascii"):
        raise _InvalidMessageError(f"content-encoding is {message.get('content-encoding')!r}; only utf-8 is read")
    _check_body(_plain(message.get("body"), properties.get("body_encoding")))


def _plain(body: Any, encoding: Any) -> str:
    if not isinstance(body, str):
        raise _InvalidMessageError("body is no text")
    if encoding != "base64":
        return body
    try:
        return base64.b64decode(body, validate=True).decode()
    except (binascii.Error, ValueError):
        raise _InvalidMessageError("body is no base64 of UTF-8") from None


def _check_body(body: str) -> None:
    match _parsed(body, "body"):
        case [list(), dict(), *_]:
            return
    raise _InvalidMessageError("body is no JSON array of arguments, keyword arguments and options")


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _InvalidMessageError(f"{what} is no JSON") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _InvalidMessageError(f"{what} is no JSON object")
    return value


def _wrapped(raw: str, reason: str) -> str:
    body = json.dumps([[], {"raw": raw, "reason": reason}, {}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode(errors="replace")).decode(),
            "content-type": _JSON,
            "content-encoding": "utf-8",
            "headers": {"task": REJECT_TASK, "id": str(uuid4())},
            "properties": {
                "delivery_tag": str(uuid4()),
                "delivery_info": {"exchange": "", "routing_key": "submit"},
                "body_encoding": "base64",
            },
        }
    )
