"""`susy serve`: the HTTP service."""

from __future__ import annotations

import signal
import threading
from typing import Annotated, Any

import typer

from worker.cli.services.work import stop_with_standard_input
from worker.extras import needs
from worker.log import configure_logging
from worker.settings import load_settings


@needs("serve")
def serve(
    host: Annotated[str | None, typer.Option(help="Instead of SUSY_SERVE_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Instead of SUSY_SERVE_PORT.", min=1, max=65_535)] = None,
    workers: Annotated[int | None, typer.Option(help="Instead of SUSY_SERVE_WORKERS.", min=1, max=64)] = None,
    attended: Annotated[bool, typer.Option(hidden=True, help="Stop when standard input ends.")] = False,
) -> None:
    """Serve HTTP until told to stop: submit checks, read verdicts (docs/http.md). SIGTERM answers what is under way."""
    from worker.serve.server import run

    given: dict[str, Any] = {"serve_host": host, "serve_port": port, "serve_workers": workers}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    settings.require_database_url()
    settings.require_redis_url()
    configure_logging(settings.log_format, settings.log_level)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has stopped in order; that must not end this process by it.
        signal.signal(number, lambda *_: None)
    if attended:
        threading.Thread(target=stop_with_standard_input, name="attendance", daemon=True).start()
    run(settings)
