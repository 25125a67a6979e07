"""`susy backlog retry` and `susy backlog cancel`: put chosen checks back, or take them out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer

from schema.states import CheckState, Lane
from worker.cli.output import notes, out, print_json, progress_bar
from worker.settings import load_settings
from worker.store import CheckFilter, Store
from worker.units import parse_duration

STEP = 1000
"""Checks changed in one transaction, so that no worker waits long for a row."""

Ids = Annotated[list[UUID] | None, typer.Argument(help="Ids of checks.", metavar="[CHECK_ID]...", show_default=False)]
Code = Annotated[str | None, typer.Option(help="Only those whose latest failure has this code.")]
Source = Annotated[str | None, typer.Option(help="Only this source's.")]
OfLane = Annotated[Lane | None, typer.Option(help="Only this lane's.")]
Since = Annotated[
    str | None, typer.Option(help="Not before this time: 2026-01-31T08:00, or 2h ago as 2h (s, m, h, d).")
]
Until = Annotated[str | None, typer.Option(help="Not after this time, written in the same way.")]
All = Annotated[bool, typer.Option("--all", help="All of them, where nothing else is given.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def retry(
    check_ids: Ids = None,
    code: Code = None,
    source: Source = None,
    lane: OfLane = None,
    since: Since = None,
    until: Until = None,
    cancelled: Annotated[
        bool, typer.Option("--cancelled", help="Cancelled checks instead of quarantined ones.")
    ] = False,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Queue quarantined checks again, with all their attempts. Times are when they were quarantined."""
    state = CheckState.CANCELLED if cancelled else CheckState.QUARANTINED
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        now = store.now()
        choice = CheckFilter(_ids(check_ids), code, source, lane, _moment(since, now), _moment(until, now))
        _change(
            store,
            state,
            choice,
            now,
            lambda choice: store.requeue(state, choice, limit=STEP),
            everything=everything,
            dry_run=dry_run,
            yes=yes,
            as_json=json,
        )


def cancel(
    check_ids: Ids = None,
    code: Code = None,
    source: Source = None,
    lane: OfLane = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take queued checks out, so that they are never looked at. Times are when they were accepted."""
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        now = store.now()
        choice = CheckFilter(_ids(check_ids), code, source, lane, _moment(since, now), _moment(until, now))
        _change(
            store,
            CheckState.QUEUED,
            choice,
            now,
            lambda choice: store.cancel(choice, limit=STEP),
            everything=everything,
            dry_run=dry_run,
            yes=yes,
            as_json=json,
        )


def _change(
    store: Store,
    state: CheckState,
    choice: CheckFilter,
    now: datetime,
    step: Callable[[CheckFilter], int],
    *,
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    if choice == CheckFilter() and not everything:
        raise typer.BadParameter(f"say which, by id or filter, or add --all for every {state} check")
    # What comes to this state from now on was not meant: a check that fails again at once is not tried for ever.
    choice = replace(choice, until=min(choice.until or now, now))
    matched = store.count(state, choice)
    notes.print(f"{matched:,} {state} check{'' if matched == 1 else 's'} match{'es' if matched == 1 else ''}.")
    changed = 0
    if matched and not dry_run:
        _ask(yes)
        with progress_bar() as bar:
            task = bar.add_task("working", total=matched)
            while done := step(choice):
                changed += done
                bar.update(task, completed=changed)
    if as_json:
        print_json({"matched": matched, "changed": changed, "dry_run": dry_run})
    else:
        out.print(f"{matched} found, {changed} changed")
    if choice.check_ids is not None and matched < len(choice.check_ids):
        notes.print(f"{len(choice.check_ids) - matched} of the ids name no {state} check that matches.")
        raise typer.Exit(1)


def _ask(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on; add --yes to go on, or --dry-run to only count")
    if not typer.confirm("Go on?", err=True):
        notes.print("Nothing was changed.")
        raise typer.Exit(1)


def _ids(check_ids: list[UUID] | None) -> list[UUID] | None:
    return sorted(set(check_ids)) if check_ids else None


def _moment(given: str | None, now: datetime) -> datetime | None:
    """A point in time as an operator writes it; without a zone, in that of this machine."""
    if given is None:
        return None
    try:
        if given.strip().endswith(("s", "m", "h", "d")):
            return now - timedelta(seconds=parse_duration(given))
        return datetime.fromisoformat(given.strip()).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{given!r} is not a time; write 2026-01-31T08:00, or 2h for two hours ago") from None
