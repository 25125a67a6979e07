"""A reverse proxy for HTTP that forwards to a real service, and does what a test tells it to on the way."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Fault = Callable[["Exchange"], bool]
"""Is called with a request; whether it has answered, or left it unanswered, so that it is not forwarded."""


class Exchange:
    """One request on its way."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.handler = handler
        self.body = body

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.handler.headers.items()}

    def answer(self, status: int, body: bytes = b"", **headers: str) -> bool:
        """Answer without asking the service."""
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body)
        return True

    def reset(self) -> bool:
        """Break the connection without an answer."""
        connection = self.handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        self.handler.close_connection = True
        return True

    def drip(self, seconds: float) -> bool:
        """Answer by one byte every tenth of a second, which never ends within `seconds`."""
        until = time.monotonic() + seconds
        try:
            self.handler.wfile.write(b"HTTP/1.1 202 Accepted\r\nX-Slow: ")
            while time.monotonic() < until:
                self.handler.wfile.write(b"x")
                time.sleep(0.1)
        except OSError:
            pass
        self.handler.close_connection = True
        return True


class FaultyProxy:
    """Listens on the loopback interface. `faults` are used up in order, one per request; then requests pass."""

    def __init__(self, service_url: str) -> None:
        self.faults: list[Fault | None] = []
        self.forwarded: list[Exchange] = []
        self.connections = 0
        self.lose_answers = 0
        """How many answers of the service are dropped, with the connection."""
        proxy, target = self, urlsplit(service_url)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                proxy.connections += 1

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                exchange = Exchange(self, _body(self))
                fault = proxy.faults.pop(0) if proxy.faults else None
                if fault is not None and fault(exchange):
                    return
                proxy.forwarded.append(exchange)
                upstream = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
                upstream.request("POST", self.path, exchange.body, headers)
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
                if proxy.lose_answers:
                    proxy.lose_answers -= 1
                    exchange.reset()
                    return
                exchange.answer(
                    answer.status,
                    content,
                    **{
                        name.replace("-", "_"): value
                        for name, value in answer.getheaders()
                        if name.lower() in ("content-type", "retry-after")
                    },
                )

            do_GET = do_POST  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def faulty_proxy(service_url: str) -> Iterator[FaultyProxy]:
    """A proxy to the service at `service_url`, while the block runs."""
    proxy = FaultyProxy(service_url)
    try:
        yield proxy
    finally:
        proxy.close()


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    parts = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(parts)
