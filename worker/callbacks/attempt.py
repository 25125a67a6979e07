"""One attempt: a signed request, and what its answer means."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.callbacks.payload import body
from worker.callbacks.schedule import next_wait
from worker.callbacks.signing import SigningKey, signed_headers
from worker.errors import ErrorCode, SusyError
from worker.safe_http.client import SafeClient
from worker.store.callbacks import Attempted, ClaimedDelivery, Endpoint

MAX_ANSWER = 4096
"""Bytes of an answer's body that are read, so that its connection can be used again. Nothing is made of them."""
GONE = 410
THROTTLING = frozenset({429, 502, 503, 504})
"""Statuses of an endpoint that wants fewer requests: its Retry-After holds for all of them."""
OWN_FAULT = frozenset({400, 413, 415, 422})
"""Statuses that say something of the one message, and nothing of the endpoint."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended, and what it says of the endpoint."""

    attempted: Attempted
    is_healthy: bool | None
    """Whether the endpoint works; None when this attempt does not tell."""
    is_gone: bool = False
    """Whether it wants no callbacks any more."""
    requested: float | None = None
    """For how many seconds it wants none."""


@dataclass(frozen=True)
class Answer:
    """What an endpoint answered."""

    status: int
    retry_after: float | None
    """Seconds that it asked to wait."""


def send(
    client: SafeClient,
    endpoint: Endpoint,
    message_id: str,
    content: bytes,
    *,
    timeout: float,
    clock: Callable[[], float] = time.time,
) -> Answer:
    """Send one message, signed now by all keys of the endpoint. Raises `SusyError` as `SafeClient.request` does.

    `timeout` is in seconds and covers the whole request.
    """
    keys = [SigningKey(kind, secret) for kind, secret in endpoint.keys]
    headers = signed_headers(message_id, int(clock()), content, keys)
    response = client.request(
        "POST",
        endpoint.url,
        headers={**headers, "content-type": "application/json"},
        content=content,
        deadline=timeout,
        max_bytes=MAX_ANSWER,
    )
    return Answer(response.status, response.retry_after)


def attempt(
    client: SafeClient, endpoint: Endpoint, delivery: ClaimedDelivery, *, public_url: str | None, timeout: float
) -> Outcome:
    """Send the event once. Never raises: whatever happens is an outcome."""
    event = delivery.event
    try:
        answer = send(client, endpoint, event.message_id, body(event, public_url), timeout=timeout)
    except SusyError as error:
        return _failed(delivery, None, str(error.code), error.message)
    except Exception as error:  # noqa: BLE001 (one delivery must not end the process; it is attempted again)
        return _failed(delivery, None, str(ErrorCode.UNEXPECTED), f"{type(error).__name__} while sending")
    return judged(delivery, answer)


def judged(delivery: ClaimedDelivery, answer: Answer) -> Outcome:
    """What an answer means."""
    status = answer.status
    if 200 <= status < 300:
        return Outcome(Attempted(delivery, status, None), is_healthy=True)
    if status == GONE:
        message = "the endpoint answered 410: it wants no callbacks any more"
        gone = Attempted(delivery, status, str(ErrorCode.ENDPOINT_GONE), message, retry_in=0.0, is_counted=False)
        return Outcome(gone, is_healthy=None, is_gone=True)
    what = "redirected, which is not followed" if 300 <= status < 400 else "refused the callback"
    return _failed(
        delivery, status, str(ErrorCode.CALLBACK_REFUSED), f"the endpoint {what}: {status}", answer.retry_after
    )


def _failed(
    delivery: ClaimedDelivery, status: int | None, code: str, message: str, requested: float | None = None
) -> Outcome:
    attempted = Attempted(delivery, status, code, message, retry_in=next_wait(delivery.attempt, requested))
    return Outcome(
        attempted,
        is_healthy=None if status in OWN_FAULT else False,
        requested=requested if status in THROTTLING else None,
    )
