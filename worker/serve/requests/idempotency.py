"""Requests that are safe to repeat: the header `Idempotency-Key` becomes an id of what the request makes."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID, uuid5

from fastapi import Header

from worker.store import ApiKey

MAX_IDEMPOTENCY_KEY = 200


def _header(description: str) -> Any:
    return Header(min_length=1, max_length=MAX_IDEMPOTENCY_KEY, pattern="^[!-~]+$", description=description)


IdempotencyKey = Annotated[
    str | None,
    _header(
        "Makes the request safe to repeat, as after an answer that was lost: with the same value and the same API key, "
        "the answer is that of the first request, and nothing is done twice."
    ),
]
SubmissionKey = Annotated[
    str | None,
    _header(
        "Makes the request safe to repeat where items have no `external_id`: it becomes the external id `request:KEY`, "
        "for the items of a list `request:KEY/0`, `request:KEY/1`, …"
    ),
]


def request_id(key: ApiKey, kind: str, idempotency_key: str | None) -> UUID | None:
    """An id that only requests of this kind with this value, sent with this API key, have; None without a value."""
    return None if idempotency_key is None else uuid5(key.id, f"{kind}:{idempotency_key}")
