"""A proxy in front of a real Postgres that breaks what a network breaks: connections, answers, a COMMIT's last word."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from pathlib import Path
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

_FIELDS = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter in options: statement_timeout\0\0"
_REFUSED = b"E" + struct.pack(">I", 4 + len(_FIELDS)) + _FIELDS
_RECORD = re.compile(rb"(_pg3_\d+\0)WITH held AS")
"""The name by which the statement runs, once prepared, that records a check and commits by itself."""


class PostgresProxy:
    """Passes bytes on until told to misbehave."""

    def __init__(self, database_url: str) -> None:
        parts = conninfo_to_dict(database_url)
        self._host, self._port = str(parts["host"]), int(parts.get("port") or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        parts |= {"host": "127.0.0.1", "port": self._listener.getsockname()[1], "sslmode": "disable"}
        self.url = f"postgresql://?{urlencode(parts, quote_via=quote)}"
        self.cut_before_commit = False
        """Cut the connection instead of passing the next commit on."""
        self.cut_after_commit = False
        """Pass the next commit on, and cut the connection instead of its answer."""
        self.refuses_options = False
        """Refuse whoever connects with startup parameters in `options`, as PgBouncer does by default."""
        self.frozen = threading.Event()
        """While set, nothing is passed on, and nothing is closed."""
        self._refused = False
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def refuse(self, refused: bool) -> None:
        """Hang up on whoever connects, or stop doing so."""
        self._refused = refused

    def cut(self) -> None:
        """Break every connection there is."""
        for each in self._sockets[1:]:
            _end(each)

    def close(self) -> None:
        """Refuse what comes, break what is there, and wait for the threads."""
        for each in self._sockets:
            _end(each)
        for thread in self._threads:
            thread.join(timeout=10)

    def _run(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refused:
                client.close()
                continue
            server = self._connect()
            self._sockets += [client, server]
            muted = threading.Event()
            self._run(self._pass_on, client, server, True, muted)
            self._run(self._pass_on, server, client, False, muted)

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(Path(self._host) / f".s.PGSQL.{self._port}"))
        return server

    def _pass_on(self, source: socket.socket, target: socket.socket, to_server: bool, muted: threading.Event) -> None:
        answer_is_lost = False
        committing = {b"COMMIT"}
        try:
            while data := source.recv(65536):
                if self.frozen.is_set() or (muted.is_set() and not to_server):
                    continue
                if to_server and self.refuses_options and b"\0options\0" in data:
                    source.sendall(_REFUSED)
                    break
                commits = to_server and any(name in data for name in committing)
                committing.update(_RECORD.findall(data))
                if commits:
                    if self.cut_before_commit:
                        self.cut_before_commit = False
                        break
                    if self.cut_after_commit:
                        self.cut_after_commit = False
                        answer_is_lost = True
                        muted.set()
                target.sendall(data)
                if answer_is_lost:
                    _end(source)
                    target.shutdown(socket.SHUT_WR)
                    return
        except OSError:
            pass
        _end(source)
        _end(target)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
