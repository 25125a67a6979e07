"""`susy data`: inspect labelled images before training or evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import error_document, out, print_json, table
from worker.errors import ErrorCode, PermanentError
from worker.extras import needs
from worker.settings import load_settings
from worker.sources.files import display_path

if TYPE_CHECKING:
    from worker.lab.dataset.checks import Inspection

app = typer.Typer(help="Data sets of labelled images.", no_args_is_help=True)

_SHOWN = 10  # of each kind of finding that is not an error; `--json` has all


@app.callback()
def data() -> None:
    """Data sets of labelled images."""


@app.command()
@needs("worker")
def inspect(
    path: Annotated[Path, typer.Argument(help="A folder, a manifest (.csv, .parquet) or Parquet files.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Count, measure and compare all images; exit 1 if an image is unreadable or in two splits."""
    from worker.lab.dataset.checks import inspect as run
    from worker.lab.dataset.layouts import open_dataset

    settings = load_settings()
    found = run(open_dataset(path), max_pixels=settings.max_pixels, memory=settings.memory_budget)
    failure = _failure(found)
    if json:
        print_json({**_document(found), **({"error": error_document(failure)} if failure else {})})
        raise typer.Exit(1 if failure else 0)
    _print(found)
    if failure:
        raise failure


def _failure(found: Inspection) -> PermanentError | None:
    from worker.lab.dataset.checks import leakage_message

    if found.leaks:
        return PermanentError(ErrorCode.DATA_INVALID, leakage_message(found.path, found.leaks))
    if found.unreadable:
        name, why = next(iter(found.unreadable.items()))
        count = "1 image is" if len(found.unreadable) == 1 else f"{len(found.unreadable)} images are"
        return PermanentError(
            ErrorCode.DATA_INVALID, f"{count} unreadable, the first {name} ({why}); fix or remove what is listed"
        )
    return None


def _document(found: Inspection) -> dict[str, Any]:
    return {
        "path": display_path(found.path),
        "counts": found.counts,
        "formats": found.formats,
        "sizes": dict(zip(("smallest", "median", "largest"), map(list, found.sizes), strict=False)),
        "too_small": found.too_small,
        "unreadable": [{"name": name, "message": message} for name, message in found.unreadable.items()],
        "duplicates": found.duplicates,
        "leaks": [
            {
                "shared": leak.shared,
                "images": [{"name": entry.name, "split": entry.split} for entry in (leak.first, leak.second)],
            }
            for leak in found.leaks
        ],
        "classes_outside_train": found.outside_train,
    }


def _print(found: Inspection) -> None:
    splits = list(next(iter(found.counts.values()), {}))
    counts = table("class", *splits)
    for name, by_split in found.counts.items():
        counts.add_row(name, *(str(by_split[split]) for split in splits))
    counts.add_row("all", *(str(sum(by_split[split] for by_split in found.counts.values())) for split in splits))
    out.print(counts)
    if found.sizes:
        smallest, median, largest = (f"{width} × {height}" for width, height in found.sizes)
        out.print(f"sizes: {smallest} (smallest), {median} (median), {largest} (largest)")
    out.print("formats: " + ", ".join(f"{name} {count}" for name, count in found.formats.items()))
    _list("under 240 pixels on a side, no patch to train on", found.too_small)
    _list("the same bytes within a split", (" = ".join(group) for group in found.duplicates))
    _list("classes without images in train", found.outside_train)
    _list("unreadable", (f"{name}: {why}" for name, why in found.unreadable.items()), shown=None)
    _list("in two splits", map(str, found.leaks), shown=None)


def _list(title: str, lines: Iterable[str], shown: int | None = _SHOWN) -> None:
    """The lines under a title with their number; nothing when there are none."""
    lines = list(lines)
    if not lines:
        return
    out.print(f"{title}: {len(lines)}")
    for line in lines[:shown]:
        out.print(f"  {line}")
    if shown is not None and len(lines) > shown:
        out.print(f"  … and {len(lines) - shown} more (--json lists all)")
