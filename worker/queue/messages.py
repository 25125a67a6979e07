"""Messages as they are stored in Redis: Celery's envelope is built and checked here, and nowhere else.

kombu ends the whole worker over an item that is not a message, and Celery discards a message whose task it does not
know; by then neither is in Redis any more. Therefore each item is checked the moment it arrives: a valid one is reduced
to what the task needs, and an invalid one is wrapped in a message for the task `susy.reject`, which stores it for the
operator and is acknowledged as any other.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from redis import Redis

from schema.messages import CHECK_TASK, SUBMIT_QUEUE, SUBMIT_TASK
from schema.states import Lane

REJECT_TASK = "susy.reject"
"""Stores an invalid item. Never sent through Redis: a worker makes it from an item it cannot process."""
TASKS = frozenset({CHECK_TASK, SUBMIT_TASK})
MAX_IDENTIFIER = 255
"""Characters of a message's id and of its delivery tag."""
MAX_RAW = 4096
"""Characters of an invalid item that are kept."""
MAX_REASON = 500
"""Characters of the reason, which may repeat a part of the item."""
PRIORITY_SEPARATOR = "\x06\x16"
"""Between a queue's name and a priority in the key of a list (kombu.transport.redis.Channel.sep)."""
RESERVED_KEYS = frozenset({"__type__", "__value__"})
"""The keys of an object that Celery would turn into another type. Where it cannot, it neither runs nor acknowledges the
message, which then counts as being worked on: a few of them, and the worker takes no more."""
HINT = "check_id"
"""The header of a message that is a hint: all that it says is in the ledger too. Set here, on arrival, alone."""
_JSON = "application/json"


def envelope(
    task: str,
    queue: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    message_id: str | None = None,
    **headers: str,
) -> str:
    """A Celery message (protocol 2, JSON) for `task`, as kombu's Redis transport stores it in the list of `queue`."""
    body = json.dumps([list(args), dict(kwargs or {}), {}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-type": _JSON,
            "content-encoding": "utf-8",
            "headers": {"task": task, "id": message_id or str(uuid4()), **headers},
            "properties": {
                "delivery_tag": str(uuid4()),
                "delivery_info": {"exchange": "", "routing_key": queue},
                "body_encoding": "base64",
            },
        }
    )


def hinted_check(headers: Mapping[str, Any]) -> str | None:
    """The check that the message with these headers asks to examine, if it says nothing that the ledger does not know.

    Such a message may be lost. A submission, or an item that is to be stored as invalid, may not.
    """
    check_id: str | None = headers.get(HINT)
    return check_id


def check_of_message(item: bytes | str) -> UUID | None:
    """The check that an item of Redis asks to examine; None of any other item."""
    hinted = hinted_check(json.loads(normalized(item))["headers"])
    return None if hinted is None else UUID(hinted)


def check_of(args: Sequence[Any]) -> UUID | None:
    """The only argument of `susy.check`; None where the arguments are not one check's id."""
    try:
        (check_id,) = args
        return UUID(check_id)
    except (ValueError, TypeError, AttributeError):
        return None


def normalize_messages(client: Redis, key_prefix: str, queues: Collection[str]) -> None:
    """Make `client` pass each item that it pops with BRPOP from one of `queues` through `normalized`.

    Items of other queues stay as they are: a worker that starts asks the others for their state, and their answers come
    by a queue of its own. `key_prefix` stands before every queue's name in Redis; kombu adds the priority, if it is not
    0, behind `PRIORITY_SEPARATOR`.
    """

    def checked(answer: Any, **_: Any) -> Any:
        if not answer:
            return answer
        key, item = answer
        queue = key.decode(errors="replace").removeprefix(key_prefix).split(PRIORITY_SEPARATOR)[0]
        return key, normalized(item) if queue in queues else item

    client.set_response_callback("BRPOP", checked)


def normalized(item: bytes | str) -> str:
    """The message for one of our tasks that `item` is, or else a message for `REJECT_TASK` that carries it.

    Only task, id and arguments are kept. Whatever else Celery would act on could lose the message: it discards one that
    has expired or cannot be decompressed, puts one back under the routing key that it names, and forgets one of two
    with the same delivery tag.
    """
    raw = item.decode(errors="replace") if isinstance(item, bytes) else item
    try:
        return _rebuilt(raw)
    except _InvalidMessageError as invalid:
        reason = str(invalid)
    except Exception as error:  # noqa: BLE001 (an item that is popped and raises would be lost, and end the worker)
        reason = f"{type(error).__name__}: {error}"
    # The ledger keeps no more of either; an item of megabytes need not travel to it.
    return envelope(REJECT_TASK, SUBMIT_QUEUE, kwargs={"raw": raw[:MAX_RAW], "reason": reason[:MAX_REASON]})


class _InvalidMessageError(Exception):
    """An item is not a message for one of our tasks; its text says why."""


def _rebuilt(raw: str) -> str:
    message = _object(_parsed(raw, "the message"), "the message")
    headers = _object(message.get("headers"), "headers")
    task = headers.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise _InvalidMessageError(f"headers.task is {task!r}; the tasks are {', '.join(sorted(TASKS))}")
    if headers.get("compression"):
        raise _InvalidMessageError("headers.compression is set; send the body uncompressed")
    properties = _object(message.get("properties"), "properties")
    delivery = _object(properties.get("delivery_info"), "properties.delivery_info")
    if message.get("content-type") != _JSON:
        raise _InvalidMessageError(f"content-type is {message.get('content-type')!r}; it must be {_JSON}")
    if str(message.get("content-encoding")).lower() not in ("utf-8", "us-ascii", "ascii"):
        raise _InvalidMessageError(f"content-encoding is {message.get('content-encoding')!r}; it must be utf-8")
    _identifier(properties.get("delivery_tag"), "properties.delivery_tag")
    match _parsed(_decoded(message.get("body"), properties.get("body_encoding")), "body"):
        case [list() as args, dict() as kwargs, *_]:
            if "self" in kwargs:
                raise _InvalidMessageError("an argument is called self, which Celery's call of a task cannot pass on")
            lane = delivery.get("routing_key")
            check_id = check_of(args) if task == CHECK_TASK else None
            return envelope(
                task,
                SUBMIT_QUEUE if task == SUBMIT_TASK else str(lane if lane in list(Lane) else Lane.LIVE),
                args,
                kwargs,
                message_id=_identifier(headers.get("id"), "headers.id"),
                **({} if check_id is None else {HINT: str(check_id)}),
            )
    raise _InvalidMessageError("body is not a JSON array of arguments, keyword arguments and options")


def _identifier(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise _InvalidMessageError(f"{what} is missing")
    if len(value) > MAX_IDENTIFIER or not value.isprintable():
        raise _InvalidMessageError(f"{what} must be at most {MAX_IDENTIFIER} printable characters")
    return value


def _decoded(body: Any, encoding: Any) -> str:
    if not isinstance(body, str):
        raise _InvalidMessageError("body is not a string")
    if encoding != "base64":
        return body
    try:
        return base64.b64decode(body, validate=True).decode()
    except (binascii.Error, ValueError):
        raise _InvalidMessageError("body is not UTF-8 text in base64") from None


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text, object_hook=_unreserved)
    except (ValueError, RecursionError):
        raise _InvalidMessageError(f"{what} is not JSON") from None


def _unreserved(value: dict[str, Any]) -> dict[str, Any]:
    if value.keys() == RESERVED_KEYS:
        raise _InvalidMessageError("an object has the keys __type__ and __value__ alone, which Celery reserves")
    return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _InvalidMessageError(f"{what} is not a JSON object")
    return value
