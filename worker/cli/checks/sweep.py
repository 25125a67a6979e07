"""`susy sweep`: submit the objects of a bucket that the ledger does not know."""

from __future__ import annotations

from typing import Annotated

import typer

from schema.states import Lane
from worker.cli.output import error_document, notes, out, print_json
from worker.errors import ConfigurationError, ErrorCode, printable
from worker.extras import needs
from worker.hooks.mapping import load_hooks
from worker.hooks.objects import parse_location
from worker.settings import load_settings
from worker.settings.units import parse_duration


@needs("aws")
def sweep(
    location: Annotated[str, typer.Argument(help="A bucket, or a prefix in it.", metavar="s3://BUCKET/PREFIX")],
    newer_than: Annotated[
        str | None, typer.Option(help="Only objects at most this old, as 7d; by default all.", metavar="AGE")
    ] = None,
    older_than: Annotated[
        str, typer.Option(help="Only objects at least this old; the event of a newer one may be on its way.")
    ] = "10m",
    lane: Annotated[Lane | None, typer.Option(help="In place of the mapping's lane.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Submit every object below a prefix that no event reported. Run it by a timer; one that was killed continues."""
    from worker.hooks.sweep import S3Bucket
    from worker.hooks.sweep import sweep as run
    from worker.store import Store

    settings = load_settings()
    if settings.hooks_file is None:
        raise ConfigurationError(ErrorCode.SETTINGS, "SUSY_HOOKS_FILE is not set; it maps buckets to sources")
    hooks = load_hooks(settings.hooks_file)
    try:
        place = parse_location(location)
        ages = None if newer_than is None else parse_duration(newer_than), parse_duration(older_than)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if place.scheme != "s3":
        raise typer.BadParameter("only s3:// is listed here; a folder is imported by `susy backlog import`")
    with Store(settings.require_database_url(), pool_size=2) as store:
        bucket = S3Bucket(place)
        summary = run(bucket.pages, place, hooks, store, lane=lane, newer_than=ages[0], older_than=ages[1])
    document = {
        "location": place.uri,
        "objects": summary.objects,
        "submitted": summary.submitted,
        "known": summary.known,
        "ignored": {str(reason): number for reason, number in sorted(summary.ignored.items())},
        "outside_ages": summary.outside_ages,
        "refused": len(summary.refused),
        "resumed_after": summary.resumed_after,
        "errors": [error_document(error) for error in summary.refused[:10]],
    }
    if json:
        print_json(document)
    else:
        ignored = sum(summary.ignored.values())
        out.print(
            f"{printable(place.uri)}: {summary.objects} objects, {summary.submitted} submitted, {summary.known} known, "
            f"{ignored} ignored, {summary.outside_ages} outside the ages, {len(summary.refused)} refused",
            soft_wrap=True,
        )
        for refusal in summary.refused[:10]:
            notes.print(f"susy: {refusal}", soft_wrap=True)
    if summary.refused:
        raise typer.Exit(1)
