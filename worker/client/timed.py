"""Connections of urllib3 whose timeout bounds a whole answer, not each wait for a part of it.

A server, or a proxy before it, that sends one byte per second would otherwise hold an upload for hours.
"""

from __future__ import annotations

import io
import socket
import time
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _TimedSocket:
    """A socket on which everything since the last `settimeout` happens within that time."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._until: float | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def settimeout(self, seconds: float | None) -> None:
        self._until = None if seconds is None else time.monotonic() + seconds
        self._socket.settimeout(seconds)

    def makefile(self, mode: str, *_: object, **__: object) -> io.BufferedReader:
        """What `http.client` reads an answer from."""
        assert mode == "rb"
        return io.BufferedReader(_TimedFile(self._socket.makefile("rb", buffering=0), self))

    def spend(self) -> None:
        """Let the next wait take no more than what is left. Raises `TimeoutError` when nothing is."""
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._socket.settimeout(left)


class _TimedFile(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, owner: _TimedSocket) -> None:
        self._raw = raw
        self._owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._owner.spend()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock = _TimedSocket(self.sock)


class _TimedTlsConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock = _TimedSocket(self.sock)


class _TimedPool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TimedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTlsConnection


def timed_pool_manager(connections: int) -> urllib3.PoolManager:
    """Up to `connections` that are kept open to one server. Follows no redirect and repeats nothing by itself."""
    manager = urllib3.PoolManager(num_pools=1, maxsize=connections, retries=False)
    manager.pool_classes_by_scheme = {"http": _TimedPool, "https": _TimedTlsPool}
    return manager
