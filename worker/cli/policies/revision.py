"""Changing what decides: each change derives the next revision from the one that applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.options import author, stated
from worker.cli.output import notes, out, print_json
from worker.errors import ErrorCode, PermanentError
from worker.settings import load_settings
from worker.store import Store

if TYPE_CHECKING:
    from worker.policy.configuration import PolicyConfiguration
    from worker.store.policies import PolicyLedger

Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Expect = Annotated[
    int | None, typer.Option(help="Change nothing unless this revision still applies.", metavar="REVISION", min=0)
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


def change_policies(
    change: Callable[[PolicyLedger, PolicyConfiguration], PolicyConfiguration],
    words: str | Callable[[], str],
    reason: str,
    by: str | None,
    expect: int | None,
    *,
    as_json: bool,
) -> PolicyConfiguration:
    """Derive the next revision from the present one, and let it apply; the configuration that applies then.

    `words` describe the change, if a function, once it is derived.
    """
    who = author(by)
    why = stated("--reason", reason)
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        revision, current = read_policies(store.policies)
        if expect not in (None, revision):
            raise PermanentError(
                ErrorCode.CONFLICT, f"revision {revision} applies, not {expect}; look at `susy policy history`"
            )
        changed = change(store.policies, current)
        if changed == current:
            notes.print(f"Nothing changes: revision {revision} says so already.")
            return current
        document, text = changed.document, words if isinstance(words, str) else words()
        store.policies.change(revision + 1, document, change=text, changed_by=who, reason=why)
    if as_json:
        print_json({"revision": revision + 1, "change": text, "by": who, "reason": why, "configuration": document})
    else:
        out.print(f"revision {revision + 1}: {text}")
    return changed


def read_policies(ledger: PolicyLedger) -> tuple[int, PolicyConfiguration]:
    """The number of the configuration that applies, 0 before the first, and the configuration."""
    from worker.queue.policies import parse_configuration

    found = ledger.revision()
    return (0 if found is None else found.revision), parse_configuration(found)
