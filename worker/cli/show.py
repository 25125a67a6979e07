"""`susy show`: one check, as the ledger knows it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from schema.verdict import verdict_document
from worker.cli.output import coloured, out, print_json
from worker.errors import ErrorCode, PermanentError, printable
from worker.extras import require_extra
from worker.files import write_atomically
from worker.settings import Settings, load_settings
from worker.store import CheckDetails, Store


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
        write_atomically(overlay, draw_overlay(view, settings))


def check_document(view: CheckDetails) -> dict[str, Any]:
    """The JSON object of a check: its state, and its verdict once it has one."""
    document: dict[str, Any] = {
        "check_id": str(view.check_id),
        "state": str(view.state),
        "attempts": view.attempts,
        "error": asdict(view.error) if view.error else None,
        "source": view.source,
        "external_id": view.external_id,
        "uri": view.uri,
        "expires_at": view.expires_at.isoformat() if view.expires_at else None,
    }
    if view.scan is not None and view.verdict is not None:
        document |= verdict_document(view.scan, view.verdict)
    return document


def draw_overlay(view: CheckDetails, settings: Settings) -> bytes:
    """The check's map drawn on its image, as PNG. Raises `PermanentError` when there is no map or the image changed."""
    require_extra("worker", what="--overlay")
    from worker.intake.decode import decode
    from worker.intake.sources import read
    from worker.localization import overlay_png
    from worker.pipeline.examine import content_digest

    if view.scan is None or view.verdict is None:
        raise PermanentError(ErrorCode.UNKNOWN_CHECK, f"check {view.check_id} is {view.state}; it has no map to draw")
    content = read(view.uri, settings.image_roots, settings.max_bytes)
    if content_digest(content) != view.scan.content_sha256:
        raise PermanentError(
            ErrorCode.CONFLICT, f"{view.uri} is no longer the image that was checked; no map was drawn"
        )
    return overlay_png(decode(content, settings.max_pixels).pixels, view.scan, view.verdict.regions)


def _table(document: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in document.items():
        if value is None or value in ([], {}):
            continue
        table.add_row(key, coloured(value) if key == "decision" else printable(str(value)))
    return table
