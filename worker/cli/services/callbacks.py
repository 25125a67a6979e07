"""`susy callbacks`: what waits to be delivered, what failed, and trying that again."""

from __future__ import annotations

import time
from typing import Annotated, Any
from uuid import UUID

import typer

from worker.cli.options import moment
from worker.cli.output import out, print_json, shown_duration, table
from worker.cli.services.endpoint import state_of
from worker.settings import load_settings
from worker.store.callbacks import CallbackStore, EndpointStatus

STEP = 1000
"""Callbacks changed in one transaction."""

app = typer.Typer(help="Callbacks: what waits, and retrying what failed.", no_args_is_help=True)


@app.command()
def status(json: Annotated[bool, typer.Option("--json", help="One JSON object per endpoint.")] = False) -> None:
    """Print what waits at each endpoint, what failed for good, and what was delivered in the last 24 hours."""
    with _store() as store:
        endpoints = store.status()
    if json:
        for endpoint in endpoints:
            print_json(_document(endpoint))
        return
    shown = table("endpoint", "pending", "oldest", "failed", "delivered in 24 h", "state")
    for endpoint in endpoints:
        shown.add_row(
            endpoint.name,
            f"{endpoint.pending:,}",
            shown_duration(endpoint.oldest_age),
            f"{endpoint.failed:,}",
            f"{endpoint.delivered_lately:,}",
            state_of(endpoint),
        )
    out.print(shown)


@app.command()
def retry(
    check_ids: Annotated[
        list[UUID] | None, typer.Argument(help="Ids of checks.", metavar="[CHECK_ID]...", show_default=False)
    ] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only callbacks to this endpoint.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only those that failed not before this time: 2026-01-31T08:00, or 2h.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them; required when there is no filter.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Attempt failed callbacks again, with all their attempts. One that a newer event has followed is not sent."""
    if not (check_ids or endpoint or since or everything):
        raise typer.BadParameter("name checks, an endpoint or a time, or add --all for every failed callback")
    changed = 0
    with _store() as store:
        if endpoint is not None:
            store.endpoint(endpoint)
        after = moment(since, store.now())
        while True:
            step = store.retry(endpoint=endpoint, check_ids=check_ids or None, since=after, limit=STEP)
            if step is None:
                time.sleep(0.05)
                continue
            changed += step
            if step < STEP:
                break
    if json:
        print_json({"changed": changed})
    else:
        out.print(f"{changed} changed")


def _document(endpoint: EndpointStatus) -> dict[str, Any]:
    return {
        "endpoint": endpoint.name,
        "pending": endpoint.pending,
        "oldest_age_seconds": endpoint.oldest_age,
        "failed": endpoint.failed,
        "delivered_in_24_hours": endpoint.delivered_lately,
        "disabled_at": endpoint.disabled_at.isoformat() if endpoint.disabled_at else None,
        "disabled_reason": endpoint.disabled_reason,
        "failures": endpoint.failures,
        "open_until": endpoint.open_until.isoformat() if endpoint.open_until else None,
    }


def _store() -> CallbackStore:
    return CallbackStore(load_settings().require_database_url(), pool_size=1)
