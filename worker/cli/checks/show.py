"""`susy show`: one check, as the ledger knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from worker.cli.output import coloured, out, print_json, shown_score
from worker.errors import printable
from worker.extras import require_extra
from worker.files import write_atomically
from worker.settings import load_settings
from worker.store import Store
from worker.store.documents import check_document


def show(
    check_id: Annotated[UUID, typer.Argument(help="What `susy submit` printed.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    overlay: Annotated[Path | None, typer.Option(help="Draw the map on the image into this PNG file.")] = None,
) -> None:
    """Print where a check stands and what was decided."""
    settings = load_settings()
    with Store(settings.require_database_url(), pool_size=1) as store:
        view = store.show(check_id)
    document = check_document(view)
    if json:
        print_json(document)
    else:
        out.print(_table(document))
    if overlay is not None:
        require_extra("worker", what="--overlay")
        from worker.machine.memory import MemoryBudget
        from worker.pipeline.overlay import draw_overlay

        write_atomically(overlay, draw_overlay(view, settings, MemoryBudget(settings.memory_budget)))


def _table(document: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in document.items():
        if value is None or value in ([], {}):
            continue
        if key == "decision":
            table.add_row(key, coloured(value))
        else:
            table.add_row(key, "\n".join(map(_region, value)) if key == "regions" else printable(str(value)))
    return table


def _region(region: dict[str, Any]) -> str:
    facts = [
        f"{region['width']} × {region['height']} at ({region['x']}, {region['y']})",
        f"score {shown_score(region['score'])}",
        None if region["area"] is None else f"{region['area']:.1%} of the image",
        None if region["generator"] is None else printable(region["generator"]),
    ]
    return ", ".join(fact for fact in facts if fact is not None)
