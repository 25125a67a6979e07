"""`susy check`: look at images in this process, without any service."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from schema.verdict import verdict_document
from worker.cli.output import (
    coloured,
    error_document,
    notes,
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
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Check images here and now, and print what a worker would have decided."""
    settings = with_some_weights(load_settings())
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


def with_some_weights(settings: Settings) -> Settings:
    """`settings`, on the demonstration weights when no others are there; says so."""
    from worker.detector.paths import DEMO, pulled_weights

    if settings.weights is None and not pulled_weights().exists():
        notes.print(
            "No released weights here: using demonstration weights, whose verdicts decide nothing "
            "(`susy weights pull` fetches the released ones).",
            style="yellow",
        )
        return settings.model_copy(update={"weights": DEMO})
    return settings


def files_in(path: Path) -> list[Path]:
    """Everything in a folder that is not a folder, sorted, with folders that cannot be listed; or `path` itself.

    Links to files are followed, links to folders are not.
    """
    if not os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises for a name that is too long)
        return [path]
    unlisted: list[Path] = []
    walk = os.walk(path, onerror=lambda error: unlisted.append(Path(error.filename)))
    files = [Path(folder, name) for folder, _folders, names in walk for name in names]
    return sorted(files + unlisted)


def read_local(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file that the user of this command named, wherever it lies: its own folder is the root.

    Raises as `worker.sources.files.read` does.
    """
    from worker.sources.files import read, uri_of

    try:
        mode = path.stat().st_mode
    except OSError as error:
        is_link = os.path.islink(path)  # noqa: PTH114 (Path.is_symlink raises for a name that is too long)
        what = "is a symbolic link that leads nowhere" if is_link else "does not exist"
        raise PermanentError(ErrorCode.NOT_FOUND, f"{display_path(path)} {what}") from error
    if stat.S_ISDIR(mode):
        raise PermanentError(ErrorCode.UNREADABLE, f"{display_path(path)} is a folder that may not be listed")
    if not stat.S_ISREG(mode):  # asked before links are resolved: /dev/stdin leads to a pipe, which has no path
        why = f"{display_path(path)} is not a regular file; name an image file"
        raise PermanentError(ErrorCode.NOT_A_FILE, why)
    real = Path(os.path.realpath(path))
    return read(uri_of(real), (real.parent,), max_bytes)


def _examined(files: Sequence[Path | str], settings: Settings) -> Generator[dict[str, Any], None, None]:
    """One document per file or URI, in order; several images are in flight so that batches fill."""
    from worker.detector.detector import Detector
    from worker.pipeline.examine import Examiner
    from worker.policy.explain import explain
    from worker.policy.selection import PolicySet, load_pinned
    from worker.sources.sources import Sources, shown

    policy = PolicySet(load_pinned(settings.policy_file, settings.policy_dir)).default

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
