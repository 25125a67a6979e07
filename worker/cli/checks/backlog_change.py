"""`susy backlog retry` and `susy backlog cancel`: requeue matching checks, or cancel them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer

from schema.states import CheckState, Lane
from worker.cli.options import LoggedBy, Since, Yes, confirm, logged, moment
from worker.cli.output import notes, out, print_json, progress_bar
from worker.settings import load_settings
from worker.store import CheckFilter, Store

STEP = 1000
"""Checks changed in one transaction, so that no worker waits long for a row."""

Ids = Annotated[list[UUID] | None, typer.Argument(help="Ids of checks.", metavar="[CHECK_ID]...", show_default=False)]
Code = Annotated[str | None, typer.Option(help="Only those whose latest failure has this code.")]
Source = Annotated[str | None, typer.Option(help="Only those of this source.")]
OfLane = Annotated[Lane | None, typer.Option(help="Only those of this lane.")]
Until = Annotated[str | None, typer.Option(help="Not after this time, in the same form.")]
All = Annotated[bool, typer.Option("--all", help="All of them; required when there is no other filter.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print how many match.")]
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
    expired: Annotated[
        bool, typer.Option("--expired", help="Expired checks instead; they have no deadline any more.")
    ] = False,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    by: LoggedBy = None,
    json: Json = False,
) -> None:
    """Queue quarantined checks again, with all their attempts. Times are those of quarantine.

    A deadline that has passed is removed.
    """
    if cancelled and expired:
        raise typer.BadParameter("name one state: --cancelled or --expired")
    state = CheckState.CANCELLED if cancelled else CheckState.EXPIRED if expired else CheckState.QUARANTINED
    with Store(load_settings().require_database_url(), pool_size=1, actor=logged(by)) as store:
        now = store.now()
        where = CheckFilter(_ids(check_ids), code, source, lane, moment(since, now), moment(until, now))
        _change(
            store,
            state,
            where,
            now,
            lambda where: store.requeue(state, where, limit=STEP),
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
    by: LoggedBy = None,
    json: Json = False,
) -> None:
    """Cancel queued checks, so that they are never examined. Times are those of acceptance."""
    with Store(load_settings().require_database_url(), pool_size=1, actor=logged(by)) as store:
        now = store.now()
        where = CheckFilter(_ids(check_ids), code, source, lane, moment(since, now), moment(until, now))
        _change(
            store,
            CheckState.QUEUED,
            where,
            now,
            lambda where: store.cancel(where, limit=STEP),
            everything=everything,
            dry_run=dry_run,
            yes=yes,
            as_json=json,
        )


def _change(
    store: Store,
    state: CheckState,
    where: CheckFilter,
    now: datetime,
    step: Callable[[CheckFilter], int],
    *,
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    if where == CheckFilter() and not everything:
        raise typer.BadParameter(f"name checks by id or filter, or add --all for every {state} check")
    # Checks that reach this state later are left out, or one that fails again at once would be retried forever.
    where = replace(where, until=min(where.until or now, now))
    matched = store.count(state, where)
    notes.print(f"{matched:,} {state} check{'' if matched == 1 else 's'} match{'es' if matched == 1 else ''}.")
    changed = 0
    if matched and not dry_run:
        confirm(yes)
        with progress_bar() as bar:
            task = bar.add_task("working", total=matched)
            while done := step(where):
                changed += done
                bar.update(task, completed=changed)
    if as_json:
        print_json({"matched": matched, "changed": changed, "dry_run": dry_run})
    else:
        out.print(f"{matched} matched, {changed} changed")
    if where.check_ids is not None and matched < len(where.check_ids):
        notes.print(f"{len(where.check_ids) - matched} of the ids name no matching {state} check.")
        raise typer.Exit(1)


def _ids(check_ids: list[UUID] | None) -> list[UUID] | None:
    return sorted(set(check_ids)) if check_ids else None
