"""`susy up`: everything on this machine, for trying things out and for development."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from schema.access import Scope
from worker.cli.local_images import with_weights_or_demo
from worker.cli.output import notes
from worker.extras import is_installed, needs
from worker.log import configure_logging
from worker.settings import SERVICES_FILE, STATE_DIRECTORY, Settings, load_settings
from worker.store import Store

KEY_NAME = "up"
"""Of the API key that the first start creates."""

_STOPPING = (signal.SIGTERM, signal.SIGINT)


@needs("worker", "embedded")
def up(
    root: Annotated[
        list[Path] | None, typer.Option(help="A folder under which images may be read; by default this one.")
    ] = None,
) -> None:
    """Run embedded Postgres and Valkey, a worker, a reconciler, a deliverer and the HTTP service, until Ctrl-C.

    Other `susy` commands started in this folder find the servers by themselves. Uploaded images are kept in
    .susy/uploads unless SUSY_STORAGE is set. The first start creates an API key and prints it, once.
    """
    from worker.cli.services.stack import running_stack
    from worker.embedded.servers import write_services

    settings = with_weights_or_demo(load_settings(image_roots=tuple(root or [Path.cwd()])))
    configure_logging(settings.log_format, settings.log_level)
    stopped = threading.Event()
    for number in _STOPPING:
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # a start may take a minute
    has_http, delivers = is_installed("serve"), is_installed("http") and is_installed("deliver")
    port = _port(settings)
    uploads = (STATE_DIRECTORY / "uploads").absolute() if has_http and settings.storage is None else None
    with running_stack(
        STATE_DIRECTORY,
        settings.image_roots if uploads is None else (*settings.image_roots, uploads),
        commands=("worker", *(("serve",) if has_http else ()), *(("deliver",) if delivers else ())),
        weights=settings.weights or "",
        storage=settings.storage if uploads is None else str(uploads),
        serve_port=port,
        public_url=settings.public_url or f"http://{settings.serve_host}:{port}",
        serve_workers=1,
    ) as stack:
        for number in _STOPPING:
            signal.signal(number, lambda *_: stopped.set())
        if uploads is not None:
            uploads.mkdir(exist_ok=True)
        write_services(SERVICES_FILE, stack.settings)
        try:
            notes.print(
                "susy is up. In this folder: `susy submit IMAGE`, `susy show CHECK_ID`. Ctrl-C stops.", style="green"
            )
            if has_http:
                _introduce_http(stack.settings)
            else:
                notes.print("There is no HTTP service without: pip install 'susy-worker[serve]'")
            if not delivers:
                notes.print("Callbacks are not delivered without: pip install 'susy-worker[deliver]'")
            while not stopped.wait(1):
                stack.supervise()
        finally:
            SERVICES_FILE.unlink(missing_ok=True)


def _port(settings: Settings) -> int:
    """SUSY_SERVE_PORT; where nobody set it and another program uses it, a port that is free."""
    for port in (settings.serve_port, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            free: int = probe.getsockname()[1]
            return free
        if "serve_port" in settings.model_fields_set:
            break
    return settings.serve_port


def _introduce_http(settings: Settings) -> None:
    """Print where the HTTP service is, and the first start's key."""
    notes.print(f"HTTP: http://{settings.serve_host}:{settings.serve_port} (docs/http.md)")
    with Store(settings.require_database_url(), pool_size=1) as store:
        if not store.keys.all():
            key = store.keys.add(KEY_NAME, [Scope.SUBMIT, Scope.READ, Scope.REVIEW, Scope.SUPERVISE])
            notes.print(f"API key, shown this once: {key}", soft_wrap=True)
