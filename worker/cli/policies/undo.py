"""`susy policy undo`: the verdicts that an application of a policy replaced count again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.options import By, Yes, author, confirm_undoable, stated
from worker.cli.output import notes, out, print_json, progress_bar, resumable
from worker.cli.policies.backtest import flips_document, flips_table
from worker.settings import load_settings

if TYPE_CHECKING:
    from uuid import UUID

    from worker.lab.undo_application import Undone
    from worker.store import Application, AppliedVerdict, Store


def undo(
    application: Annotated[
        int, typer.Argument(help="The application, as `susy policy history` shows it.", metavar="APPLICATION", min=1)
    ],
    reason: Annotated[str | None, typer.Option(help="Why; kept with the application that undoes it.")] = None,
    reviewed: Annotated[
        bool, typer.Option("--reviewed", help="Reviewed checks too. What people decided still overrides the verdict.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    by: By = None,
    yes: Yes = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Undo what `susy policy apply` did as one: each check's verdict is again what it was before.

    Checks that were reviewed or decided again since are left alone, and counted. Each decision that changes becomes an
    event. Nothing is deleted: what is undone is history, and undoing can be undone in the same way.
    """
    from worker.lab.undo_application import all_of, undo_application
    from worker.store import Store

    who, why = author(by), None if reason is None else stated("--reason", reason)
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        undone = store.applications.get(application)
        if not dry_run:
            confirm_undoable(yes, _described(undone))
        writing = None if dry_run else _Writing(store, undone, who, why, reviewed)
        with resumable(is_writing=writing is not None), progress_bar() as bar:
            task = bar.add_task(f"undoing application {application}", total=undone.replaced)
            result = undo_application(
                store.applications.written(application),
                writing or all_of,
                reviewed=reviewed,
                advance=lambda count: bar.advance(task, count),
            )
        if writing is not None:
            writing.finish()
    number = None if writing is None else writing.number
    if json:
        print_json(_document(undone, result, number, dry_run=dry_run))
    else:
        _print(undone, result, number, dry_run=dry_run)


class _Writing:
    """Writes batches as one application, which is recorded with the first: the `Restore` of a run that writes."""

    def __init__(self, store: Store, undone: Application, who: str, why: str | None, reviewed: bool) -> None:
        self._store, self._undone, self._who, self._why, self._reviewed = store, undone, who, why, reviewed
        self.number: int | None = None

    def __call__(self, verdicts: list[AppliedVerdict]) -> set[UUID]:
        applications, undone = self._store.applications, self._undone
        if self.number is None:
            self.number = applications.begin(
                undone.policy,
                {"reviewed": self._reviewed},
                applied_by=self._who,
                reason=self._why,
                undoes=undone.application_id,
            )
        return applications.undo(self.number, verdicts, reviewed=self._reviewed)

    def finish(self) -> None:
        if self.number is not None:
            self._store.applications.finish(self.number)


def _described(undone: Application) -> str:
    what = f"of {undone.policy}" if undone.undoes is None else f"that undid application {undone.undoes}"
    return (
        f"Application {undone.application_id} {what}, by {undone.applied_by}, replaced the verdicts of "
        f"{undone.replaced} checks; --dry-run shows which change."
    )


def _print(undone: Application, result: Undone, number: int | None, *, dry_run: bool) -> None:
    what = "dry run" if dry_run else "nothing" if number is None else f"application {number}"
    out.print(
        f"{what} to undo application {undone.application_id}: restored {result.restored}, changed {result.changed}, "
        f"reviewed and left alone {result.reviewed}, decided again since {result.decided_again}, "
        f"undone before {result.undone_before}"
    )
    if result.flips:
        out.print(flips_table(result.flips))
    if number is not None:
        notes.print(f"To undo this: susy policy undo {number}")


def _document(undone: Application, result: Undone, number: int | None, *, dry_run: bool) -> dict[str, Any]:
    return {
        "undoes": undone.application_id,
        "dry_run": dry_run,
        "application": number,
        "checks": result.checks,
        "restored": result.restored,
        "changed": result.changed,
        "reviewed": result.reviewed,
        "decided_again": result.decided_again,
        "undone_before": result.undone_before,
        "flips": flips_document(result.flips),
        "policies": {str(version): count for version, count in result.policies.most_common()},
    }
