"""`susy check`: look at images in this process, without any service."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from schema.verdict import verdict_document
from worker.cli.local_images import files_in, read_local, with_weights_or_demo
from worker.cli.output import (
    coloured,
    error_document,
    out,
    print_json,
    progress_bar,
    shown_score,
    table,
)
from worker.errors import ErrorCode, PermanentError, SusyError, printable
from worker.extras import needs
from worker.machine.threads import map_in_threads
from worker.settings import Settings, load_settings
from worker.sources.files import display_path


@needs("worker")
def check(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders of images, or https://, s3://, gs:// or az:// URIs that the settings allow.",
            metavar="PATH|URL",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Check images here and now, and print what a worker would have decided."""
    settings = with_weights_or_demo(load_settings())
    files = [file for path in paths for file in ([path] if "://" in path else files_in(Path(path)))]
    for_table: list[dict[str, Any]] = []
    failed = False
    with progress_bar(beside_output=json) as bar, closing(_examined(files, settings)) as examined:
        for document in bar.track(examined, total=len(files), description="checking"):
            failed |= "error" in document
            if json:
                print_json(document)
            else:
                for_table.append(document)
    if not json:
        out.print(_table(for_table))
    if failed:
        raise typer.Exit(1)


def _examined(files: Sequence[Path | str], settings: Settings) -> Generator[dict[str, Any], None, None]:
    """One document per file or URI, in order; several images are in flight so that batches fill."""
    from worker.detector.detector import Detector
    from worker.pipeline.examine import Examiner
    from worker.policy.explain import explain
    from worker.policy.selection import PolicySet, load_pinned
    from worker.sources.sources import Sources, shown

    pinned = load_pinned(settings.policy_file, settings.policy_dir)
    policy = PolicySet(pinned).default

    def content_of(file: Path | str) -> bytes:
        if isinstance(file, Path):
            return read_local(file, settings.max_bytes)
        with examiner.memory.arriving() as received:
            return sources.read(file, received=received).content

    def examined(file: Path | str) -> dict[str, Any]:
        path = display_path(file) if isinstance(file, Path) else shown(file)
        try:
            examination = examiner.examine(content_of(file), policy)
        except SusyError as error:
            return {"path": path, "error": error_document(error)}
        except Exception as error:  # noqa: BLE001 (whatever one file does, the others are judged)
            failure = PermanentError(ErrorCode.UNEXPECTED, f"{type(error).__name__}: {error}")
            return {"path": path, "error": error_document(failure)}
        verdict = examination.verdict
        why = explain(examination.scan, policy, verdict.regions)
        return {"path": path, **verdict_document(examination.scan, verdict), "explain": why}

    with Sources(settings) as sources, Detector(settings) as detector:
        pinned.require_known_generators(detector.identity.classes)
        examiner = Examiner.of(settings, detector, renders_maps=False)
        yield from map_in_threads(examined, files, settings.concurrency)


def _table(documents: list[dict[str, Any]]) -> Table:
    rows = table("file", "decision", "score", "generator", "reasons")
    for document in documents:
        if "error" in document:
            rows.add_row(printable(document["path"]), Text("error", "red"), "", "", document["error"]["message"])
        else:
            rows.add_row(
                printable(document["path"]),
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
