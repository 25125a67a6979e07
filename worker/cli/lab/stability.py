"""`susy stability`: how far scores move when images are re-encoded, resized or cropped."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.local_images import files_in, read_local, with_weights_or_demo
from worker.cli.options import split_names
from worker.cli.output import notes, out, print_json, progress_bar, table
from worker.errors import ErrorCode, InputDataError
from worker.extras import needs
from worker.settings import load_settings
from worker.sources.files import display_path

if TYPE_CHECKING:
    from rich.table import Table

    from worker.lab.evaluation.stability import Summary


@needs("worker", "evaluate")
def stability(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    weights: Annotated[
        str | None, typer.Option(help="A weights file or TorchScript program, or `demo`; the configured one if absent.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names of a TorchScript program, in order, the authentic one first: a,b.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="A policy file; the configured one if absent.")] = None,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for report.html, stability.json and scores.csv.")
    ] = Path("stability"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Examine each image as it is and altered, and report how much the verdict depends on the alteration."""
    from worker.lab.evaluation.html import require_folder
    from worker.lab.evaluation.stability import ImageOutcomes, examine_all, open_network, summarize
    from worker.lab.evaluation.stability_report import stability_document, write_report
    from worker.pipeline.examine import Examiner
    from worker.policy.selection import PolicySet, load_pinned

    overrides = {"weights": weights, "policy_file": policy}
    settings = with_weights_or_demo(
        load_settings(**{key: value for key, value in overrides.items() if value is not None})
    )
    files = [file for path in images for file in files_in(path)]
    if not files:
        raise InputDataError(ErrorCode.DATA_INVALID, f"{', '.join(map(str, images))} has no image; name another folder")
    require_folder(folder)
    chosen = PolicySet(load_pinned(settings.policy_file, settings.policy_dir)).default
    read = partial(read_local, max_bytes=settings.max_bytes)
    outcomes, unreadable = [], 0
    with open_network(settings, None if classes is None else split_names(classes)) as scorer:
        examiner = Examiner.of(settings, scorer, renders_maps=False)
        examined = examine_all(files, read, examiner, chosen, threads=settings.concurrency)
        with progress_bar() as bar, closing(examined) as found:
            for of in bar.track(found, total=len(files), description="examining altered images"):
                if isinstance(of, ImageOutcomes):
                    outcomes.append(of)
                else:
                    unreadable += 1
                    notes.print(f"skipped {display_path(of.path)}: {of.error}")
        summary = summarize(outcomes, unreadable)
        page = write_report(folder, summary, outcomes, examiner, chosen)
        if json:
            print_json(stability_document(summary, examiner, chosen))
    if not json:
        out.print(_table(summary))
        out.print(_in_words(summary))
    notes.print(f"curves and pictures: {page}")
    if unreadable:
        raise typer.Exit(1)


def _table(summary: Summary) -> Table:
    rows = table("alteration", "compared", "not scored", "score moves", "5–95 %", "flips", "changes")
    for effect in summary.effects:
        if effect.move is None:
            rows.add_row(str(effect.alteration), "0", str(effect.not_scored or ""), "", "", "", "")
            continue
        rows.add_row(
            str(effect.alteration),
            str(effect.compared),
            str(effect.not_scored or ""),
            f"{effect.move.median:+.3f}",
            f"{effect.move.low:+.3f} … {effect.move.high:+.3f}",
            f"{effect.flips / effect.compared:.1%}",
            f"{effect.changes / effect.compared:.1%}",
        )
    return rows


def _in_words(summary: Summary) -> str:
    too_small = f", {summary.not_scored} too small" if summary.not_scored else ""
    return (
        f"{summary.scored} scored{too_small}. The decision flips between authentic and synthetic somewhere for "
        f"{summary.flipped}, changes at all for {summary.changed}."
    )
