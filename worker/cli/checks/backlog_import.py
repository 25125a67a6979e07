"""`susy backlog import`: queue the images of a manifest or a folder."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from schema.states import Lane
from worker.cli.output import notes, out, print_json
from worker.errors import ConfigurationError, ErrorCode, InputDataError
from worker.importing.load import Located, Summary, load
from worker.importing.records import Defaults, ManifestFormat, Reject, read_manifest, walk_folder
from worker.settings import Settings, load_settings
from worker.store import Store

STDIN = "-"
_BY_SUFFIX = {".csv": ManifestFormat.CSV, ".jsonl": ManifestFormat.JSONL, ".ndjson": ManifestFormat.JSONL}


def import_(
    origin: Annotated[
        str, typer.Argument(help="A manifest (CSV or JSON lines), a folder, or - for standard input.", metavar="SOURCE")
    ],
    source: Annotated[str, typer.Option(help="The source of lines that name none.")] = "import",
    lane: Annotated[Lane, typer.Option(help="The lane of lines that name none.")] = Lane.BACKFILL,
    manifest_format: Annotated[
        ManifestFormat | None, typer.Option("--format", help="By default recognized by the name or the first line.")
    ] = None,
    match: Annotated[
        list[str] | None, typer.Option(help="In a folder, only files whose name matches, as '*.jpg'; repeatable.")
    ] = None,
    check_files: Annotated[
        bool, typer.Option(help="Reject what is not under SUSY_IMAGE_ROOTS. Turn it off on a machine without them.")
    ] = True,
    rejects: Annotated[
        Path | None, typer.Option(help="The file for rejected lines; by default SOURCE.rejects.jsonl in this folder.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Queue every image of a manifest or a folder, of any size. It can be repeated after an interruption."""
    from worker.store.migrate import require_current  # Alembic takes a third of a second, which no other command needs

    settings = load_settings()
    url = settings.require_database_url()
    require_current(url)
    locate = _locator(settings) if check_files else None
    rejects = (rejects or Path(f"{_name(origin)}.rejects.jsonl")).absolute()
    defaults = Defaults(source, lane)
    with (
        _opened(origin) as stream,
        _reject_file(rejects) as reject,
        _progress(origin, stream) as progress,
        Store(url, pool_size=1) as store,
    ):
        items = (
            walk_folder(Path(origin), defaults, patterns=match or (), exclude=rejects)
            if stream is None
            else read_manifest(stream, defaults, manifest_format or _BY_SUFFIX.get(Path(origin).suffix.lower()))
        )
        summary = load(items, store, locate=locate, reject=reject, progress=progress)
        if summary.accepted:
            store.analyze()
    document = {**asdict(summary), "rejects": str(rejects) if summary.rejected else None}
    if json:
        print_json(document)
    else:
        where = f" (see {rejects})" if summary.rejected else ""
        out.print(
            f"{summary.accepted} accepted, {summary.repeated} accepted before, {summary.rejected} rejected{where}",
            soft_wrap=True,
        )
    if summary.rejected:
        raise typer.Exit(1)


def _locator(settings: Settings) -> Located:
    from worker.sources.sources import locate

    missing = [str(root) for root in settings.image_roots if not root.is_dir()]
    if missing or not (settings.image_roots or settings.buckets or settings.url_hosts):
        what = (
            f"SUSY_IMAGE_ROOTS names {missing[0]}, which is not a folder here"
            if missing
            else "SUSY_IMAGE_ROOTS is not set"
        )
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{what}; set it to the folders that hold the images, or add --no-check-files"
        )
    return partial(locate, settings=settings)


def _name(origin: str) -> str:
    return "stdin" if origin == STDIN else Path(origin).absolute().name or "root"


@contextmanager
def _opened(origin: str) -> Iterator[BinaryIO | None]:
    """The manifest's bytes; None for a folder."""
    if origin == STDIN:
        yield sys.stdin.buffer
    elif Path(origin).is_dir():
        yield None
    else:
        try:
            stream = Path(origin).open("rb")  # noqa: SIM115 (errors of its user are not errors of opening)
        except OSError as error:
            why = f"the manifest {origin!r} cannot be opened ({error.strerror}); name a file, a folder, or -"
            raise InputDataError(ErrorCode.MANIFEST_INVALID, why) from error
        with stream:
            yield stream


@contextmanager
def _reject_file(path: Path) -> Iterator[Callable[[Reject], None]]:
    """Writes one JSON object per reject; the file is deleted when there is none."""
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{str(path)!r} cannot be written ({error.strerror}); name another by --rejects"
        ) from error
    with file:
        # ASCII, because a rejected line may contain what is not valid Unicode.
        yield lambda reject: print(json_module.dumps(asdict(reject)), file=file, flush=True)
        is_empty = file.tell() == 0
    if is_empty:
        path.unlink()


@contextmanager
def _progress(origin: str, stream: BinaryIO | None) -> Iterator[Callable[[Summary], None]]:
    """A bar on stderr over the manifest's bytes; only counts where its size is unknown."""
    size = Path(origin).stat().st_size if stream is not None and origin != STDIN else None
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, disable=not notes.is_terminal) as bar:
        task = bar.add_task("reading", total=size)

        def show(summary: Summary) -> None:
            counts = f"{summary.accepted:,} accepted, {summary.repeated:,} before, {summary.rejected:,} rejected"
            bar.update(task, description=counts, completed=stream.tell() if stream and size else 0)

        yield show
