"""Limits of every request: the size of its body, the time that the body takes, and how many are worked on at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.errors import ErrorCode
from worker.serve.problems import RefusedError, problem_response

MAX_BODY = 4_000_000
"""Bytes of a request's body, unless a route has a limit of its own: room for 100 of the largest submissions."""
BODY_SECONDS = 20.0
"""Seconds that a body may take, however small."""
MIN_RATE = 64_000
"""Bytes per second at which a larger body must arrive."""
MAX_IN_FLIGHT = 500
"""Requests that one process works on at once; those that wait for a check to finish do not count."""

BodyLimit = Callable[[Scope], int | None]
"""The limit in bytes of a request's body, for a route that has one of its own."""


class InFlight:
    """How many requests a process works on."""

    def __init__(self, most: int = MAX_IN_FLIGHT) -> None:
        self._most = most
        self._count = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request while it is worked on. Raises `RefusedError` (`overloaded`) when there are too many."""
        if self._count >= self._most:
            raise RefusedError(
                ErrorCode.OVERLOADED, f"the service works on {self._most} requests; repeat this later", retry_after=1
            )
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Do not count a request while it only waits."""
        self._count -= 1
        try:
            yield
        finally:
            self._count += 1


class Limits:
    """An ASGI middleware that enforces the limits while the body is read, declared length or not."""

    def __init__(self, app: ASGIApp, in_flight: InFlight, own_limits: tuple[BodyLimit, ...] = ()) -> None:
        self._app = app
        self._in_flight = in_flight
        self._own_limits = own_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = next((own for find in self._own_limits if (own := find(scope)) is not None), MAX_BODY)
        try:
            with self._in_flight.admitted():
                _require_at_most(_declared_length(scope), limit)
                await self._app(scope, _limited(receive, limit), send)
        except RefusedError as error:  # only those from above: the application answers its own
            await problem_response(error)(scope, receive, send)


def _limited(receive: Receive, limit: int) -> Receive:
    received = 0
    complete = False
    began = time.monotonic()

    async def receive_within() -> Message:
        nonlocal received, complete
        if complete:
            return await receive()  # waits for the client to disconnect
        try:
            async with asyncio.timeout(began + BODY_SECONDS + received / MIN_RATE - time.monotonic()):
                message = await receive()
        except TimeoutError:
            raise RefusedError(
                ErrorCode.TOO_SLOW,
                f"the body did not arrive within {BODY_SECONDS:.0f} s and at {MIN_RATE // 1000} kB/s; send it faster",
            ) from None
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            _require_at_most(received, limit)
        return message

    return receive_within


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _require_at_most(size: int, limit: int) -> None:
    if size > limit:
        raise RefusedError(ErrorCode.TOO_LARGE, f"the body is larger than {limit} bytes; send less at once")
