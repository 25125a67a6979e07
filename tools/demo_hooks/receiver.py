"""The platform: receives callbacks, and verifies them by the library of Standard Webhooks."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver:
    """An HTTP server on the loopback interface. A callback whose signature is not right is answered by 401."""

    def __init__(self) -> None:
        self.secret = ""
        """`whsec_…`, as `susy endpoint add` prints it."""
        self._verified: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.refused = 0
        """Callbacks with a wrong signature."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/callbacks"

    def wait(self, seconds: float) -> tuple[str, dict[str, Any]]:
        """Id and body of the next verified callback. Raises `queue.Empty` after `seconds`."""
        return self._verified.get(timeout=seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, headers: dict[str, str], body: bytes) -> int:
        try:
            Webhook(self.secret).verify(body, headers)
        except (WebhookVerificationError, ValueError):
            self.refused += 1
            return 401
        self._verified.put((headers["webhook-id"], json.loads(body)))
        return 204

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(receiver._take(headers, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                """Nothing."""

        return Handler
