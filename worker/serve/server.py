"""Runs the application: one process, or several that share a socket."""

from __future__ import annotations

import functools
import logging
import multiprocessing.connection
import os
import signal
import socket
import threading
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from worker.errors import ConfigurationError, ErrorCode
from worker.log import configure_logging, get_logger
from worker.serve.app import create_app
from worker.serve.protocol import BoundedHttpProtocol
from worker.serve.shared.rates import shared_file
from worker.settings import Settings

log = get_logger(__name__)

KEEP_ALIVE = 75
"""Seconds that a connection may be idle: longer than the minute that proxies keep theirs open."""
BACKLOG = 1024
"""Connections that the kernel keeps until a process accepts them."""
START_SECONDS = 120
"""Seconds that a process may take to import everything; a machine that is busy at its start takes many."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then answer what is under way within `SUSY_SHUTDOWN_GRACE`.

    Raises `ConfigurationError` when the address cannot be listened on.
    """
    with _listening(settings) as listener, shared_file() as rates_file:
        config = server_config(settings, functools.partial(_create, settings, rates_file))
        if settings.serve_workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            Processes(config, [listener]).run()


class Processes(Multiprocess):
    """Several processes that serve; one that dies is replaced.

    uvicorn keeps the processes' ends of their pipes open in this process too, and would wait `START_SECONDS` for the
    answer of one that died after it was asked whether it is well.
    """

    def init_processes(self) -> None:
        super().init_processes()
        self._close_ends()

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        self._close_ends()

    def _close_ends(self) -> None:
        for process in self.processes:
            process.child_conn.close()


def server_config(settings: Settings, factory: functools.partial[FastAPI]) -> uvicorn.Config:
    """uvicorn as this service runs it."""
    return uvicorn.Config(
        factory,
        factory=True,
        http=BoundedHttpProtocol,
        loop="uvloop",
        ws="none",
        workers=settings.serve_workers,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_grace)),
        timeout_worker_healthcheck=START_SECONDS,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )


def _create(settings: Settings, rates_file: Path) -> FastAPI:
    """Called in each process that serves."""
    configure_logging(settings.log_format, settings.log_level)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # `serving` and the access log say the rest
    if multiprocessing.parent_process() is not None:
        threading.Thread(target=_stop_with_parent, name="parent", daemon=True).start()
    log.info("serving", host=settings.serve_host, port=settings.serve_port, pid=os.getpid())
    return create_app(settings, rates_file)


def _stop_with_parent() -> None:
    """End this process when the one that started it is gone, however it ended: nobody would stop it any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _listening(settings: Settings) -> socket.socket:
    address = (settings.serve_host, settings.serve_port)
    try:
        family, _, _, _, place = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(settings, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(settings, error) from error
    listener.setblocking(False)
    return listener


def _cannot_listen(settings: Settings, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        ErrorCode.SETTINGS,
        f"cannot listen on {settings.serve_host} port {settings.serve_port} ({error.strerror}); change SUSY_SERVE_HOST"
        " or SUSY_SERVE_PORT, or end the program that uses the port",
    )
