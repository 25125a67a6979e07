"""`susy up`: everything on this machine, for trying things out and for development."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.check import with_some_weights
from worker.cli.output import notes
from worker.extras import needs
from worker.log import configure_logging
from worker.settings import SERVICES_FILE, STATE_DIRECTORY, load_settings


@needs("worker", "embedded")
def up(
    root: Annotated[
        list[Path] | None, typer.Option(help="A folder under which images may be read; by default this one.")
    ] = None,
) -> None:
    """Run embedded Postgres and Valkey, a worker and a reconciler, until Ctrl-C.

    Other `susy` commands started in this folder find the servers by themselves.
    """
    from worker.cli.stack import running_stack
    from worker.embedded import write_services

    settings = with_some_weights(load_settings(image_roots=tuple(root or [Path.cwd()])))
    configure_logging(settings.log_format, settings.log_level)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with running_stack(STATE_DIRECTORY, settings.image_roots, weights=settings.weights or "") as stack:
        write_services(SERVICES_FILE, stack.settings)
        try:
            notes.print(
                "susy is up. In this folder: `susy submit IMAGE`, `susy show CHECK_ID`. Ctrl-C stops.", style="green"
            )
            while not stopped.wait(1):
                stack.worker.supervise()
        finally:
            SERVICES_FILE.unlink()
