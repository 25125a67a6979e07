"""The access log: one line per request, with the check, the key and the error code where there are any."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.errors import printable
from worker.log import get_logger

log = get_logger("susy.access")

QUIET_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths that probes ask all the time; their successes are logged at DEBUG."""
MAX_PATH = 200
_FACTS = "susy.facts"
_HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
"""Headers of every response that has none of the name."""


def note(request: Request, **facts: Any) -> None:
    """Add facts to the request's line in the access log."""
    request.scope.setdefault(_FACTS, {}).update(facts)


class AccessLog:
    """An ASGI middleware that logs each request when it has been answered.

    The query string is left out, because it may hold what users typed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        facts: dict[str, Any] = scope.setdefault(_FACTS, {})
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                given = {name for name, _ in headers}
                headers.extend(header for header in _HEADERS if header[0] not in given)
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            path = scope["path"]
            client = scope.get("client")
            (log.debug if path in QUIET_PATHS and status < 400 else log.info)(
                "request",
                method=scope["method"],
                path=printable(path[:MAX_PATH]),
                status=status,
                ms=round((time.perf_counter() - began) * 1000, 1),
                client=client[0] if client else None,
                **facts,
            )
