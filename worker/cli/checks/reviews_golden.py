"""`susy reviews golden`: checks whose answer is known, hidden among those that moderators claim."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from worker.cli.output import out, print_json, table
from worker.settings import load_settings
from worker.store import Store

app = typer.Typer(help="Checks whose answer is known, by which reviewers are measured.", no_args_is_help=True)

CheckId = Annotated[UUID, typer.Argument(help="The check.", metavar="CHECK_ID")]
By = Annotated[str, typer.Option(help="Who says so.")]
Reason = Annotated[str, typer.Option(help="Why; kept.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per row.")]


@app.command()
def add(check_id: CheckId, by: By, reason: Reason, json: Json = False) -> None:
    """Let a reviewed check be a golden item. Its answer is what the review that counts decided."""
    _require(by, reason)
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        decision = store.reviews.add_golden(check_id, by=by.strip(), reason=reason.strip())
    if json:
        print_json({"check_id": str(check_id), "decision": str(decision)})
    else:
        out.print(f"{check_id}  known to be {decision}")


@app.command()
def remove(check_id: CheckId, by: By, reason: Reason, json: Json = False) -> None:
    """Let a check not be a golden item any more. Its answers stay."""
    _require(by, reason)
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        store.reviews.remove_golden(check_id, by=by.strip(), reason=reason.strip())
    if json:
        print_json({"check_id": str(check_id), "decision": None})
    else:
        out.print(f"{check_id}  removed")


@app.command("list")
def list_items(json: Json = False) -> None:
    """The golden items, and how often they were answered and answered right."""
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        found = store.reviews.golden_items()
    shown = table("check", "known to be", "source", "answers", "correct")
    for each in found:
        if json:
            print_json({**asdict(each), "check_id": str(each.check_id)})
        shown.add_row(str(each.check_id), each.decision, each.source, str(each.answers), str(each.correct))
    if not json:
        out.print(shown)


def _require(by: str, reason: str) -> None:
    for option, text in (("--by", by), ("--reason", reason)):
        if not text.strip():
            raise typer.BadParameter("must not be empty", param_hint=option)
