"""An asyncio TCP proxy in a thread: passes bytes on until told to fall silent or to hang up. It can terminate TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any

_HANG_UP = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends a reset


class TcpProxy:
    """A way to `host:port` that can be broken."""

    def __init__(self, port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._target = host, port
        self._tls = tls
        self._pairs: set[_Pair] = set()
        self._accepted: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(self._listen)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def move(self, port: int, host: str = "127.0.0.1") -> None:
        """Lead new connections to another server, as a moved address does; open ones stay where they are."""
        self._target = host, port

    def silence(self) -> int:
        """Make every connection there is half open: neither end hears anything any more. New ones work. How many."""
        return self._now(lambda: [setattr(pair, "silent", True) for pair in self._pairs])

    def reset(self) -> int:
        """Break every connection there is with a reset; how many."""
        return self._now(lambda: [pair.hang_up() for pair in list(self._pairs)])

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _now(self, action: Callable[[], list[object]]) -> int:
        async def run() -> int:
            return len(action())

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def _call(self, coroutine: Callable[[], object]) -> asyncio.Server:
        return asyncio.run_coroutine_threadsafe(coroutine(), self._loop).result(10)  # type: ignore[arg-type]

    async def _shut(self) -> None:
        # asyncio leaves open what it accepted if its server closes, or its task ends, before the task begins.
        for listener in self._server.sockets:
            self._loop.remove_reader(listener.fileno())
        await asyncio.sleep(0)
        self._server.close()
        for pair in list(self._pairs):
            pair.hang_up()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            for result in await asyncio.gather(*others, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result
        for client in self._accepted:
            client.transport.abort()
        await asyncio.sleep(0.05)  # sockets close in the loop's next turns

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Coroutine[Any, Any, None]:
        self._accepted.add(writer)
        return self._serve(reader, writer)  # asyncio makes a task of it

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted.remove(writer)
        try:
            there = await asyncio.open_connection(*self._target)
        except (OSError, asyncio.CancelledError):  # the server is away, or the proxy closes
            writer.transport.abort()
            return
        pair = _Pair(writer, there[1])
        self._pairs.add(pair)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # the proxy closes
                await asyncio.gather(pair.pass_on(reader, there[1]), pair.pass_on(there[0], writer))
        finally:
            if not pair.silent:  # a silent one keeps its sockets, until the proxy closes
                self._pairs.discard(pair)
                pair.hang_up()


class _Pair:
    """One client and its connection to the server."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers
        self.silent = False

    async def pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if not self.silent:
                    target.write(data)
                    await target.drain()
        if not self.silent:
            for writer in self._writers:
                writer.close()

    def hang_up(self) -> None:
        for writer in self._writers:
            ends: socket.socket | None = writer.get_extra_info("socket")
            if ends:  # a TLS connection that has ended has none
                with contextlib.suppress(OSError):
                    ends.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HANG_UP)
            writer.transport.abort()
