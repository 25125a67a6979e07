"""uvicorn's HTTP protocol with limits that it lacks: time and size of a request's header, and of slow readers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from worker.errors import ErrorCode
from worker.serve.problems import MEDIA_TYPE, RefusedError, problem_document
from worker.serve.shared.services import Services
from worker.serve.shared.times import DEFAULT_TIMES, TimeLimits

MAX_HEADER = 32_768
"""Bytes of a request's line and headers."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. A client that is too slow is disconnected, so that it holds neither memory nor a connection."""

    _header_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None
    _in_header = True
    _header_size = 0
    _unparsed_size = 0
    _has_failed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._header_timer = self._abort_in(self._times.header)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self._stop_reader_timer()
        self._forget_answers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._has_failed:
            return
        was_in_header = self._in_header
        super().data_received(data)
        if was_in_header and self._in_header:  # the parser keeps an unfinished header field, however long it is
            self._unparsed_size += len(data)
            self._require_small(self._unparsed_size)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_header = True
        self._header_size = self._unparsed_size = 0
        if self._header_timer is None:
            self._header_timer = self._abort_in(self._times.header)

    def on_url(self, url: bytes) -> None:
        self._header_size += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_size += len(name) + len(value)
        self._require_small(self._header_size)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._has_failed:
            return
        self._in_header = False
        self._stop_header_timer()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_reader_timer()
        self._reader_timer = self._abort_in(self._times.reading)

    def resume_writing(self) -> None:
        self._stop_reader_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        if not self._has_failed:
            self._refuse(msg)

    def shutdown(self) -> None:
        """The service stops: requests that wait for a check are answered now."""
        if (services := self._services) is not None:
            services.waiters.stop()
        super().shutdown()

    @property
    def _services(self) -> Services | None:
        """None where another application is served."""
        services: Services | None = getattr(getattr(self.app, "state", None), "services", None)
        return services

    @property
    def _times(self) -> TimeLimits:
        return DEFAULT_TIMES if self._services is None else self._services.times

    def _require_small(self, size: int) -> None:
        if size > MAX_HEADER and not self._has_failed:
            self._refuse(f"the header is larger than {MAX_HEADER} bytes; send less")

    def _refuse(self, reason: str) -> None:
        self._has_failed = True
        self._stop_header_timer()
        self._reader_timer = self._reader_timer or self._abort_in(self._times.reading)
        document: dict[str, Any] = problem_document(RefusedError(ErrorCode.INVALID_HTTP, reason))
        body = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _abort_in(self, seconds: float) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, self._abort)

    def _abort(self) -> None:
        self._forget_answers()
        self.transport.abort()

    def _forget_answers(self) -> None:
        """Write no more answers to a connection that is gone. uvicorn does so for the latest request alone, while
        earlier ones of the same connection may still be worked on."""
        for cycle in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None
