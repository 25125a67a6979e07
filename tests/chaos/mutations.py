"""Does the suite notice? Each guard is switched off in turn, and the case that needs it must fail.

    python -m tests.chaos.mutations

A guard is switched off from here: by changing a statement or a function inside the chaos processes, or by changing
the test's database. A mutation that no longer finds its guard is an error, not a case that fails:
`tests/chaos/test_mutations.py` applies each one in `make test`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.support.commands import run

Patch = Callable[[Any, str, Any], None]
"""Replaces an attribute: `setattr`, or a monkeypatch's."""


@dataclass(frozen=True)
class Mutation:
    """A guard to switch off, and the case that must notice."""

    guard: str
    case: str
    """What `pytest -k` selects."""
    process: Callable[[Patch], None] = lambda _: None
    """Switches the guard off inside a chaos process."""
    database: tuple[str, ...] = ()
    """Statements that switch it off in the test's database."""


def _no_lease_token(patch: Patch) -> None:
    _edit(patch, "FINISH", "AND lease_token = %(lease_token)s", "")
    _edit(patch, "RECORD", "AND c.lease_token = %(lease_token)s", "")


def _no_attempt_bound(patch: Patch) -> None:
    _edit(patch, "CLAIM", "AND attempts < %(max_attempts)s", "")
    _edit(patch, "RECLAIM_EXPIRED", "c.attempts >= %(max_attempts)s", "false")


def _no_reconciler(patch: Patch) -> None:
    from worker.queue import reconciler

    def idle(_store: object, _publisher: object, _settings: object, stopped: threading.Event) -> None:
        stopped.wait()

    patch(reconciler, reconciler.reconcile_forever.__name__, idle)


def _edit(patch: Patch, statement: str, guard: str, instead: str) -> None:
    from worker.store import queries

    text: str = getattr(queries, statement)
    if guard not in text:
        raise ValueError(f"the statement {statement} does not contain {guard!r}; this mutation must follow it")
    patch(queries, statement, text.replace(guard, instead))


MUTATIONS = {
    mutation.guard: mutation
    for mutation in (
        Mutation(
            "unique verdict",
            "put_back_by_hand",
            database=(
                "DROP INDEX susy.uq_verdicts_live",
                "ALTER TABLE susy.verdicts"
                " DROP CONSTRAINT uq_verdicts_check_id_policy_name_policy_version_superseded_at",
            ),
        ),
        Mutation("lease token", "frozen_past_its_lease", _no_lease_token),
        Mutation("attempt bound", "segfault", _no_attempt_bound),
        Mutation("reconciler", "flushall", _no_reconciler),
    )
}
_SETTLED_WITHIN = "40"
"""Seconds after which a case without its guard gives up."""


def mutate_process() -> None:
    """Switch off, inside a chaos process, the guard that CHAOS_MUTATION names."""
    if guard := os.environ.get("CHAOS_MUTATION"):
        MUTATIONS[guard].process(setattr)


def mutate_database(connection: psycopg.Connection) -> None:
    """Switch off, in the test's database, the guard that CHAOS_MUTATION names."""
    if guard := os.environ.get("CHAOS_MUTATION"):
        for statement in MUTATIONS[guard].database:
            connection.execute(statement)  # type: ignore[call-overload]


def main() -> int:
    """Run each guard's case with and without it. Exit code 0: every missing guard was noticed."""
    with ThreadPoolExecutor(2) as pool:
        sound = {guard: pool.submit(_complaint, mutation.case) for guard, mutation in MUTATIONS.items()}
        mutated = {guard: pool.submit(_complaint, mutation.case, guard) for guard, mutation in MUTATIONS.items()}
    print(f"{'switched off':16} {'case':24} {'with it':8} {'without':8} what gave it away")
    for guard, mutation in MUTATIONS.items():
        with_it, without = sound[guard].result(), mutated[guard].result()
        print(f"{guard:16} {mutation.case:24} {_colour(with_it):8} {_colour(without):8} {without or with_it}")
    return int(any(future.result() for future in sound.values()) or not all(f.result() for f in mutated.values()))


def _colour(complaint: str) -> str:
    return "red" if complaint else "green"


def _complaint(case: str, guard: str = "") -> str:
    """The first line of what fails in the case; nothing when it passes."""
    mutated = {"CHAOS_MUTATION": guard, "CHAOS_SETTLED_WITHIN": _SETTLED_WITHIN} if guard else {}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "chaos", "-k", case, "tests/chaos"]
    done = run(*command, timeout=600, **mutated)
    if done.code not in (0, 1):
        raise RuntimeError(f"pytest did not run: {done.stdout}{done.stderr}")
    if done.code == 0:
        return ""
    failures = (line for line in done.stdout.splitlines() if line.startswith("E  "))
    return next(failures, "E  an error").removeprefix("E").strip()[:160]


if __name__ == "__main__":
    sys.exit(main())
