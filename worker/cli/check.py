"""`susy check`: look at images in this process, without any service."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from schema.verdict import verdict_document
from worker.cli.output import coloured, error_document, notes, out, print_json, progress_bar, shown_score, table
from worker.errors import ErrorCode, PermanentError, SusyError
from worker.settings import Settings, load_settings


def check(
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Check images here and now, and print what a worker would have decided."""
    settings = with_some_weights(load_settings())
    files = [file for path in paths for file in files_in(path)]
    documents: list[dict[str, Any]] = []
    with progress_bar() as bar:
        for document in bar.track(_examined(files, settings), total=len(files), description="checking"):
            documents.append(document)
            if json:
                print_json(document)
    if not json:
        out.print(_table(documents))
    if any("error" in document for document in documents):
        raise typer.Exit(1)


def with_some_weights(settings: Settings) -> Settings:
    """`settings`, on the demonstration weights when no others are there; says so."""
    from worker.detector.locate import DEMO, pulled_weights

    if settings.weights is None and not pulled_weights().exists():
        notes.print(
            "[yellow]No released weights here: using demonstration weights, whose verdicts decide nothing "
            "(`susy weights pull` fetches the released ones).[/]"
        )
        return settings.model_copy(update={"weights": DEMO})
    return settings


def files_in(path: Path) -> Iterator[Path]:
    """Every file of a folder, sorted; anything else is taken as a file."""
    if path.is_dir():
        yield from sorted(child for child in path.rglob("*") if child.is_file())
    else:
        yield path


def _examined(files: list[Path], settings: Settings) -> Iterator[dict[str, Any]]:
    """One document a file, in order; several images are in flight so that batches fill."""
    from worker.detector.detector import Detector
    from worker.intake.sources import read
    from worker.pipeline.examine import examine
    from worker.policy.policy import load_policies

    policy = load_policies(settings.policy, settings.policies).default

    def examined(file: Path) -> dict[str, Any]:
        try:
            real = file.resolve()  # whoever names a file here may read it: its own folder is the root
            if not file.exists():
                raise PermanentError(ErrorCode.NOT_FOUND, f"{file} does not exist")
            content = read(str(real), (real.parent,), settings.max_bytes)
            examination = examine(content, policy, detector, tiling=settings.grid, max_pixels=settings.max_pixels)
        except SusyError as error:
            return {"path": str(file), "error": error_document(error)}
        return {"path": str(file), **verdict_document(examination.scan, examination.verdict)}

    with Detector(settings) as detector, ThreadPoolExecutor(settings.concurrency) as pool:
        yield from pool.map(examined, files)


def _table(documents: list[dict[str, Any]]) -> Table:
    rows = table("file", "decision", "score", "generator", "reasons")
    for document in documents:
        if "error" in document:
            rows.add_row(document["path"], "[red]error[/]", "", "", document["error"]["message"])
        else:
            rows.add_row(
                document["path"],
                coloured(document["decision"]),
                shown_score(document["score"]),
                _generator(document),
                ", ".join(document["reasons"]),
            )
    return rows


def _generator(document: dict[str, Any]) -> str:
    """The generator as people read it, with how sure its recognition is."""
    confidence = document["generator_confidence"]
    return f"{document['generator']} ({confidence:.0%})" if confidence else ""
