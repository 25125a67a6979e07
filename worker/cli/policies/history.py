"""`susy policy history`: who changed what decides, and who applied policies to old checks, or undid that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import out, print_json, table
from worker.cli.policies.revision import Json
from worker.settings import load_settings
from worker.store import Store

if TYPE_CHECKING:
    from worker.store import Application, PolicyChange


def history(
    limit: Annotated[int, typer.Option(help="Entries that are shown, the youngest first.", min=1, max=100_000)] = 20,
    json: Json = False,
) -> None:
    """Who changed what decides, when and why, and who applied a policy to old checks or undid that."""
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        changes, applications = store.policies.history(limit), store.applications.latest(limit)
    entries = [(change.changed_at, _revision_entry(change)) for change in changes]
    entries += [(each.started_at, _application_entry(each)) for each in applications]
    entries.sort(key=lambda entry: entry[0], reverse=True)
    shown = table("number", "when", "change", "by", "reason")
    for at, entry in entries[:limit]:
        if json:
            print_json(entry)
            continue
        number = f"revision {entry['revision']}" if "revision" in entry else f"application {entry['application']}"
        checks = f": {entry['replaced']} checks, {entry['changed']} changed" if "replaced" in entry else ""
        unfinished = "" if entry.get("finished_at", at) is not None else ", not finished"
        change = f"{entry['change']}{checks}{unfinished}"
        shown.add_row(number, f"{at:%Y-%m-%d %H:%M}", change, entry["by"], entry["reason"])
    if not json:
        out.print(shown)


def _revision_entry(change: PolicyChange) -> dict[str, Any]:
    return {
        "revision": change.revision,
        "changed_at": change.changed_at.isoformat(),
        "change": change.change,
        "by": change.changed_by,
        "reason": change.reason,
    }


def _application_entry(application: Application) -> dict[str, Any]:
    undoes = application.undoes
    return {
        "application": application.application_id,
        "changed_at": application.started_at.isoformat(),
        "finished_at": None if application.finished_at is None else application.finished_at.isoformat(),
        "change": f"apply {application.policy}" if undoes is None else f"undo application {undoes}",
        "undoes": undoes,
        "by": application.applied_by,
        "reason": application.reason,
        "filter": dict(application.where),
        "replaced": application.replaced,
        "changed": application.changed,
    }
