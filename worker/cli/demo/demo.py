"""`susy demo`: the whole way of the bundled samples, on real servers, in a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.extras import needs


@needs("worker", "embedded")
def demo(
    report: Annotated[Path, typer.Option(help="Folder for the page and the overlays.")] = Path("demo-report"),
) -> None:
    """Check the bundled samples through the queue; exit 0 only if each got the expected decision."""
    from worker.cli.demo.run import run_demo

    if not run_demo(report):
        raise typer.Exit(1)
