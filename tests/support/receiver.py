"""A receiver of callbacks: a real HTTP server that verifies each one by the library of Standard Webhooks."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

RESET = -1
"""As a status: the connection is reset instead of an answer."""


@dataclass(frozen=True)
class Received:
    """One request."""

    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes
    is_verified: bool
    """Whether a signature was right, by the receiver's secret."""
    at: float
    """`time.monotonic()`."""
    status: int = 0
    """What it was answered; 0 while there is no answer."""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        return self.document["data"]


Answer = tuple[int, dict[str, str]]


class Receiver:
    """Answers 204, or what `answer` says; keeps what it received."""

    def __init__(self) -> None:
        self.secret: str | None = None
        """`whsec_…`; what comes before it is set counts as not verified."""
        self.answer: Callable[[Received], Answer] = lambda _received: (204, {})
        self.received: list[Received] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hooks/susy"

    @property
    def ids(self) -> list[str]:
        return [received.id for received in self.received]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, headers: Mapping[str, str], body: bytes) -> Answer:
        received = Received(headers, body, self._is_right(headers, body), time.monotonic())
        with self._lock:
            place = len(self.received)
            self.received.append(received)
        answer = self.answer(received)
        self.received[place] = replace(received, status=answer[0])
        return answer

    def _is_right(self, headers: Mapping[str, str], body: bytes) -> bool:
        if self.secret is None:
            return False
        try:
            Webhook(self.secret).verify(body, dict(headers))
        except WebhookVerificationError:
            return False
        return True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:  # the sender is gone
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, answered = receiver.take(headers, body)
                if status == RESET:
                    # With this option, closing sends RST instead of FIN.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in answered.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("content-length", "0")
                self.end_headers()

            def handle(self) -> None:
                try:
                    super().handle()
                except (ConnectionError, ValueError):  # the other side, or RESET, has closed it
                    self.close_connection = True

            def finish(self) -> None:
                with suppress(ConnectionError, ValueError):
                    super().finish()

            def log_message(self, *_arguments: Any) -> None:
                """Nothing."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with the default of 5, connections that are made together wait for a second


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port."""
    running = Receiver()
    try:
        yield running
    finally:
        running.close()
