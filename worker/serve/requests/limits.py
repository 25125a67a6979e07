"""Limits of every request: the size of its body, the time that the body takes, and how many are worked on at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.errors import ErrorCode
from worker.serve.problems import RefusedError, problem_response
from worker.serve.shared.in_flight import InFlight
from worker.serve.shared.times import TimeLimits

MAX_BODY = 4_000_000
"""Bytes of a request's body, unless a route has a limit of its own: room for 100 of the largest submissions."""
MIN_RATE = 64_000
"""Bytes per second at which a larger body must arrive."""
MAX_DISCARDED = 16_000_000
"""Bytes of a body that is not read any more, and are taken before it is answered."""

BodyLimit = Callable[[Scope], int | None]
"""The limit in bytes of a request's body, for a route that has one of its own."""


class Limits:
    """An ASGI middleware that enforces the limits while the body is read, declared length or not."""

    def __init__(
        self, app: ASGIApp, in_flight: InFlight, times: TimeLimits, own_limits: tuple[BodyLimit, ...] = ()
    ) -> None:
        self._app = app
        self._times = times
        self._in_flight = in_flight
        self._own_limits = own_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = next((own for find in self._own_limits if (own := find(scope)) is not None), MAX_BODY)
        body = _Body(scope, receive, limit, self._times)

        async def send_after_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.discard()
            await send(message)

        try:
            with self._in_flight.admitted():
                try:
                    body.require_declared()
                    await self._app(scope, body.receive, send_after_body)
                except RefusedError as error:  # only those of the body: the application answers its own
                    await problem_response(error)(scope, receive, send_after_body)
        except RefusedError as error:  # too many are worked on: nothing is read for this one
            await problem_response(error)(scope, receive, send)


class _Body:
    """The body of one request, as it is received."""

    def __init__(self, scope: Scope, receive: Receive, limit: int, times: TimeLimits) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        self._declared = int(length) if length.isdigit() else 0
        self._receive = receive
        self._limit = limit
        self._times = times
        self._received = 0
        self._began = time.monotonic()
        self._is_complete = not self._declared and b"transfer-encoding" not in headers
        self._is_announced = b"expect" in headers
        """Whether the client waits to be asked for it (`Expect: 100-continue`)."""

    def require_declared(self) -> None:
        """Raise `RefusedError` (`too_large`) when the declared length exceeds the limit."""
        _require_at_most(self._declared, self._limit)

    async def receive(self) -> Message:
        """The next piece. Raises `RefusedError`: `too_large`, or `too_slow` when it does not come in time."""
        if self._is_complete:
            return await self._receive()  # waits for the client to disconnect
        try:
            async with asyncio.timeout_at(self._until(self._times.body + self._received / MIN_RATE)):
                message = await self._next()
        except TimeoutError:
            raise RefusedError(
                ErrorCode.TOO_SLOW,
                f"the body did not arrive within {self._times.body:.0f} s and at {MIN_RATE // 1000} kB/s; send it"
                " faster",
            ) from None
        _require_at_most(self._received, self._limit)
        return message

    async def discard(self) -> None:
        """Before an answer that did not wait for the whole body: take the rest, within bounds.

        The connection is closed after such an answer, and a client that is still sending then would see an error of
        the connection instead of the answer.
        """
        if self._is_complete or (self._is_announced and not self._received):
            return
        most = self._received + MAX_DISCARDED
        with suppress(TimeoutError):
            async with asyncio.timeout(self._times.discarding):
                while not self._is_complete and self._received < most:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._is_complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    def _until(self, seconds: float) -> float:
        """The event loop's time when `seconds` have passed since the request's start."""
        return asyncio.get_running_loop().time() + self._began + seconds - time.monotonic()


def _require_at_most(size: int, limit: int) -> None:
    if size > limit:
        raise RefusedError(ErrorCode.TOO_LARGE, f"the body is larger than {limit} bytes; send less at once")
