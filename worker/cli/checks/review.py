"""`susy review`: a person's decision about a check."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from schema.states import Decision
from worker.cli.output import out, print_json
from worker.settings import load_settings
from worker.store import Store


def review(
    check_id: Annotated[UUID, typer.Argument(help="The check, which has ended.", metavar="CHECK_ID")],
    decision: Annotated[Decision, typer.Argument(help="What the image is.")],
    by: Annotated[str, typer.Option(help="Who decided.")],
    note: Annotated[str | None, typer.Option(help="Why; for other reviewers.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Override the verdict of a check, or settle one without a verdict. A later review overrides an earlier one."""
    if not by.strip():
        raise typer.BadParameter("must not be empty", param_hint="--by")
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        review_id = store.add_review(check_id, reviewer=by.strip(), decision=decision, note=note)
    if json:
        document = {"check_id": str(check_id), "review_id": str(review_id), "decision": str(decision), "by": by.strip()}
        print_json(document)
    else:
        out.print(f"{check_id}  {decision}, by {by.strip()}; review {review_id}", soft_wrap=True)
