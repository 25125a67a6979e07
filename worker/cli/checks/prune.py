"""`susy prune`: delete checks that ended long ago."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

import typer

from schema.states import Decision
from worker.cli.options import LoggedBy, confirm, logged
from worker.cli.output import notes, out, print_json, progress_bar
from worker.settings import load_settings
from worker.settings.units import parse_duration
from worker.store import Store
from worker.store.pruning import Pruned, PruneFilter

YOUNGEST = 86_400.0
"""Seconds that a check must have been over, at least: its callbacks and reviews take their time."""


def prune(
    older_than: Annotated[str, typer.Option(help="Those that ended so long ago: 90d, 720h; at least 1d.")],
    keep_reviewed: Annotated[
        bool, typer.Option("--keep-reviewed", help="Keep those that a person has reviewed.")
    ] = False,
    keep_waiting: Annotated[
        bool, typer.Option("--keep-waiting", help="Keep those that wait for a person to review them.")
    ] = False,
    keep_decision: Annotated[
        list[Decision] | None,
        typer.Option(help="Keep those about which the live verdict or a person decided this; may be repeated."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only those of this source.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print how many would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    by: LoggedBy = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Delete checks that ended long ago with their verdicts, reviews, events and scans that nothing else uses.

    A batch per transaction, and as much rest as work: it may be interrupted, and continues when it is run again. Counts
    per day stay. Needs the rights of the schemas' owner.
    """
    try:
        age = parse_duration(older_than)
    except ValueError:
        raise typer.BadParameter(f"{older_than!r} is not a duration; write 90d", param_hint="--older-than") from None
    if age < YOUNGEST:
        raise typer.BadParameter("checks that ended less than a day ago are not deleted", param_hint="--older-than")
    with Store(load_settings().require_database_url(), pool_size=1, actor=logged(by)) as store:
        before = store.now() - timedelta(seconds=age)
        where = PruneFilter(before, keep_reviewed, tuple(keep_decision or ()), source, keep_waiting)
        matched = _matched(store, where)
        waiting = 0 if keep_waiting else matched - _matched(store, replace(where, keep_waiting=True))
        notes.print(
            f"{matched:,} check{'' if matched == 1 else 's'} would be deleted"
            + (f", of which {waiting:,} still wait for a review; --keep-waiting keeps these." if waiting else ".")
        )
        total = Pruned()
        if matched and not dry_run:
            confirm(yes)
            with progress_bar() as bar:
                task = bar.add_task("deleting", total=matched)
                started = time.monotonic()
                for pruned in store.prune(where):
                    total += pruned
                    bar.update(task, completed=total.checks)
                    time.sleep(time.monotonic() - started)
                    started = time.monotonic()
    if json:
        print_json({"matched": matched, "waiting_for_review": waiting, "dry_run": dry_run, **vars(total)})
    else:
        out.print(
            f"{matched} matched; deleted {total.checks} checks, {total.verdicts} verdicts, {total.scans} scans, "
            f"{total.reviews} reviews, {total.events} events, {total.deliveries} callbacks"
        )


def _matched(store: Store, where: PruneFilter) -> int:
    return sum(pruned.checks for pruned in store.prune(where, dry_run=True))
