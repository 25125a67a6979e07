"""`susy backlog`: what waits, how fast it drains, and what was quarantined, expired or rejected."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from schema.states import Lane
from worker.cli.checks.backlog_change import cancel, retry
from worker.cli.checks.backlog_import import import_
from worker.cli.options import LoggedBy, logged
from worker.cli.output import out, print_json, shown_duration
from worker.settings import load_settings
from worker.store import BacklogStatus, Store

WATCH_EVERY = 2.0
"""Seconds between two updates."""

app = typer.Typer(
    help="The backlog: inspect it, retry or cancel checks, pause lanes, import images.", no_args_is_help=True
)
app.command("retry")(retry)
app.command("cancel")(cancel)
app.command("import")(import_)


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Update every 2 s, until Ctrl-C.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Count long lanes and all that was set aside.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object; with --watch, one per line.")] = False,
) -> None:
    """Print what waits in each lane, the rate of finished checks, and what was quarantined, by code, or expired."""
    if watch:
        # Waited for rather than raised: an exception could be raised where it is caught and ignored.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        if watch and out.is_terminal and not json:
            with Live(_rendered(_read(store, exact)), console=out, auto_refresh=False) as live:
                while not _interrupted():
                    live.update(_rendered(_read(store, exact)), refresh=True)
            return
        _print(_read(store, exact), as_json=json)
        while watch and not _interrupted():
            _print(_read(store, exact), as_json=json)


LaneArgument = Annotated[Lane, typer.Argument(help="live or backfill.", metavar="LANE")]


@app.command()
def pause(lane: LaneArgument, by: LoggedBy = None) -> None:
    """Begin no further check of a lane, on any worker. Running checks are finished, and submissions are accepted."""
    with Store(load_settings().require_database_url(), pool_size=1, actor=logged(by)) as store:
        out.print(f"{lane} is paused" if store.pause(lane) else f"{lane} was paused before")


@app.command()
def resume(lane: LaneArgument, by: LoggedBy = None) -> None:
    """Serve a paused lane again."""
    with Store(load_settings().require_database_url(), pool_size=1, actor=logged(by)) as store:
        out.print(f"{lane} is served again" if store.resume(lane) else f"{lane} was not paused")


def _interrupted() -> bool:
    """Wait for the next update; whether Ctrl-C came first."""
    return signal.sigtimedwait({signal.SIGINT}, WATCH_EVERY) is not None


def _print(status: BacklogStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(status_document(status))
    else:
        out.print(_rendered(status))


def _read(store: Store, exact: bool) -> BacklogStatus:
    return store.status(exact_up_to=None) if exact else store.status()


def status_document(status: BacklogStatus) -> dict[str, Any]:
    """The JSON object of a backlog's status."""
    return {
        "lanes": [
            {
                "lane": str(lane.lane),
                "queued": lane.queued,
                "queued_is_exact": lane.queued_is_exact,
                "running": lane.running,
                "done_per_minute": round(lane.done_per_minute, 2),
                "oldest_age_seconds": lane.oldest_age,
                "drained_in_seconds": lane.drained_in,
                "paused_at": lane.paused_at.isoformat() if lane.paused_at else None,
            }
            for lane in status.lanes
        ],
        "quarantined": {count.code: count.checks for count in status.quarantined},
        "expired": status.expired,
        "rejected_messages": status.rejected_messages,
        "set_aside_is_exact": all(
            map(
                status.is_exact, [*(one.checks for one in status.quarantined), status.expired, status.rejected_messages]
            )
        ),
    }


def _rendered(status: BacklogStatus) -> Group:
    lanes = Table("lane", box=None, pad_edge=False)
    for heading in ("queued", "running", "done/min", "oldest", "drained in"):
        lanes.add_column(heading, justify="right")
    for lane in status.lanes:
        lanes.add_row(
            f"{lane.lane} (paused)" if lane.paused_at else str(lane.lane),
            f"{'' if lane.queued_is_exact else '~'}{lane.queued:,}",
            f"{lane.running:,}",
            f"{lane.done_per_minute:,.1f}",
            shown_duration(lane.oldest_age),
            shown_duration(lane.drained_in) if (lane.queued or lane.running) and not lane.paused_at else "–",
        )
    aside = Table("set aside", box=None, pad_edge=False)
    aside.add_column("checks", justify="right")
    for count in status.quarantined:
        aside.add_row(f"quarantined: {count.code}", _at_least(status, count.checks))
    if status.expired:
        aside.add_row("expired", _at_least(status, status.expired))
    if status.rejected_messages:
        aside.add_row("rejected messages", _at_least(status, status.rejected_messages))
    return Group(lanes, "", aside) if aside.row_count else Group(lanes)


def _at_least(status: BacklogStatus, count: int) -> str:
    return f"{count:,}" if status.is_exact(count) else f"{count:,} or more"
