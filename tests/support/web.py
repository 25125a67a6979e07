"""A real HTTPS server on the loopback, with a certificate of a test's own authority, that can be told to misbehave."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

HOST = "images.test"
"""The name that the certificate is valid for. A test's resolver says where it is."""

Answer = Callable[["Connection"], None]


@dataclass
class Connection:
    """One request, and the socket to answer on."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    socket: socket.socket

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole response; `content_type="…"` becomes the header Content-Type."""
        lines = [f"HTTP/1.1 {status} Test", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


@dataclass
class WebServer:
    """Answers each path as `answers` says, 404 elsewhere."""

    port: int
    encrypted: bool
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Connection] = field(default_factory=list)
    connections: int = 0
    peers: list[str] = field(default_factory=list)
    """The addresses of this machine that were connected to."""
    names: list[str | None] = field(default_factory=list)
    """The server names of TLS handshakes."""

    def url(self, path: str, host: str = HOST) -> str:
        return f"{'https' if self.encrypted else 'http'}://{host}:{self.port}{path}"

    def serve(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
        """Answer `path` so; its URL."""
        self.answers[path] = lambda connection: connection.answer(status, body, **headers)
        return self.url(path)

    def reset(self) -> None:
        self.answers.clear()
        self.requests.clear()
        self.peers.clear()
        self.names.clear()
        self.connections = 0


@dataclass(frozen=True)
class Authority:
    """A certificate authority of this test run."""

    ca_file: Path
    authority: trustme.CA


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = trustme.CA()
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    made.cert_pem.write_to_path(str(path))
    return Authority(path, made)


@contextlib.contextmanager
def web_server(authority: Authority | None = None, *names: str) -> Iterator[WebServer]:
    """Run a server on a free port of every loopback address; with an authority by TLS, for `names`."""
    context = None
    listener = socket.create_server(("0.0.0.0", 0), backlog=64)
    server = WebServer(listener.getsockname()[1], authority is not None)
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.authority.issue_cert(*(names or (HOST, "*.images.test"))).configure_cert(context)
        context.sni_callback = lambda _socket, name, _context: server.names.append(name)
    stopped = threading.Event()

    def accept() -> None:
        while True:
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            if stopped.is_set():
                connected.close()
                return
            server.connections += 1
            server.peers.append(connected.getsockname()[0])
            threading.Thread(target=handle, args=(connected,), daemon=True).start()

    def handle(connected: socket.socket) -> None:
        connected.settimeout(30)
        with contextlib.suppress(OSError, ValueError):
            wrapped: Any = context.wrap_socket(connected, server_side=True) if context else connected
            with wrapped:
                _answer_all(server, wrapped)
        connected.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stopped.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", server.port), 1).close()  # wakes the accepting thread
        thread.join()
        listener.close()


def _answer_all(server: WebServer, connected: socket.socket) -> None:
    """Requests of one connection, one after the other."""
    with connected.makefile("rb") as reader:
        while line := reader.readline():
            method, target, _ = line.decode().split(" ", 2)
            headers = {}
            while (header := reader.readline().decode().strip()) != "":
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            body = reader.read(int(headers.get("content-length", 0)))
            request = Connection(method, target, headers, body, connected)
            server.requests.append(request)
            answer = server.answers.get(target.partition("?")[0])
            if answer is None:
                request.answer(404)
            else:
                answer(request)


@pytest.fixture(scope="session")
def shared_https(authority: Authority) -> Iterator[WebServer]:
    with web_server(authority) as server:
        yield server


@pytest.fixture
def https(shared_https: WebServer) -> WebServer:
    """An HTTPS server at `images.test`, for one test."""
    shared_https.reset()
    return shared_https
