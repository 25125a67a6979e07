"""`susy policy apply`: a policy decides again about checks that were decided before."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schema.verdict import PolicyVersion
from worker.cli.options import By, Since, Yes, author, confirm_undoable, moment
from worker.cli.output import notes, out, print_json, progress_bar, resumable
from worker.cli.policies.backtest import flips_document, flips_table
from worker.cli.policies.find import Version, parse, stored, usable
from worker.errors import SusyError
from worker.extras import needs
from worker.settings import load_settings

if TYPE_CHECKING:
    from worker.lab.apply_policy import Applied
    from worker.policy.policy import Policy
    from worker.store import Store


@needs("worker")
def apply(
    version: Version,
    since: Since = None,
    source: Annotated[str | None, typer.Option(help="Only checks of this source.")] = None,
    decided_by: Annotated[
        str | None,
        typer.Option(help="Only checks that this policy decided about.", metavar="NAME[@VERSION]"),
    ] = None,
    reviewed: Annotated[
        bool, typer.Option("--reviewed", help="Reviewed checks too. What people decided still overrides the verdict.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the application.")] = None,
    by: By = None,
    yes: Yes = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Decide again about checks that are done, from their stored scans. Their earlier verdicts are kept as history.

    Each decision that changes becomes an event, and so a callback. Checks that this version decided about are passed
    over, so a run that was interrupted resumes when it is repeated. Workers go on deciding by what is active.
    """
    from worker.lab.apply_policy import apply_policy
    from worker.store import Store

    chosen, only = parse(version), _decided_by(decided_by)
    who = author(by)
    with Store(load_settings().require_database_url(), pool_size=2) as store:
        policy = usable(store.policies, chosen)
        begin = moment(since, store.now())
        if not dry_run:
            confirm_undoable(
                yes, f"Verdicts of {policy.version} replace those of other policies; --dry-run shows which change."
            )
        writing = None if dry_run else _Writing(store, policy, reviewed)
        if writing is not None:
            where = {
                "since": None if begin is None else begin.isoformat(),
                "source": source,
                "decided_by": decided_by,
                "reviewed": reviewed,
            }
            writing.begin(where, who, reason)
        batches = store.policies.decided_scans(since=begin, source=source, decided_by=only, unless_by=policy.version)
        with resumable(is_writing=writing is not None), progress_bar() as bar:
            task = bar.add_task(f"{'trying' if dry_run else 'applying'} {policy.version}", total=None)
            result = apply_policy(
                policy,
                batches,
                writing or set,
                find_policy=partial(_understood, store),
                reviewed=reviewed,
                advance=lambda count: bar.advance(task, count),
            )
        if writing is not None:
            store.applications.finish(writing.application_id)
    if json:
        print_json(_document(result, writing))
    else:
        _print(result, writing)


@dataclass
class _Writing:
    """Writes batches as one application; the `Replace` of a run that is not a dry one."""

    store: Store
    policy: Policy
    reviewed: bool
    application_id: int = 0

    def begin(self, where: dict[str, Any], who: str, reason: str | None) -> None:
        self.application_id = self.store.applications.begin(
            self.policy.version, where, applied_by=who, reason=(reason or "").strip() or None
        )

    def __call__(self, replacements: Any) -> Any:
        return self.store.applications.replace(
            self.application_id, self.policy.version, replacements, reviewed=self.reviewed
        )


def _understood(store: Store, version: PolicyVersion) -> Policy | None:
    try:
        return stored(store.policies, version)
    except SusyError:
        return None


def _decided_by(reference: str | None) -> PolicyVersion | str | None:
    return parse(reference) if reference is not None and "@" in reference else reference


def _print(result: Applied, writing: _Writing | None) -> None:
    what = "dry run" if writing is None else f"application {writing.application_id}"
    out.print(
        f"{what} of {result.policy.version}: decided again {result.checks}, replaced {result.replaced}, "
        f"changed {result.changed}, reviewed and left alone {result.reviewed}"
    )
    if result.flips:
        out.print(flips_table(result.flips))
    if result.overtaken:
        notes.print(f"{result.overtaken} were replaced by another process or reviewed meanwhile, and left as they are.")
    if writing is not None and result.replaced:
        before = ", ".join(f"{count} by {version}" for version, count in result.replaced_policies.most_common())
        notes.print(f"Decided before: {before}. To undo: susy policy undo {writing.application_id}", soft_wrap=True)


def _document(result: Applied, writing: _Writing | None) -> dict[str, Any]:
    return {
        "policy": {"name": result.policy.name, "version": result.policy.version.version},
        "dry_run": writing is None,
        "application": None if writing is None else writing.application_id,
        "checks": result.checks,
        "replaced": result.replaced,
        "changed": result.changed,
        "reviewed": result.reviewed,
        "overtaken": result.overtaken,
        "flips": flips_document(result.flips),
        "replaced_policies": {str(version): count for version, count in result.replaced_policies.most_common()},
    }
