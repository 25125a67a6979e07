"""Does the suite notice? Each guard is switched off in turn, and the cases that need it must fail.

    python -m tests.chaos.mutations

The guards are switched off from here: by changing a statement inside the chaos processes, or the test's database.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import psycopg

from tests.support.checkout import CHECKOUT

MUTATIONS = {
    "no unique verdict": "put_back_by_hand",
    "no lease guard": "frozen_past_its_lease",
    "no attempt cap": "segfault",
    "no reconciler": "flushall",
}
"""What is switched off, and the case that must notice (`pytest -k`)."""
_SETTLED_WITHIN = "40"


def apply_mutation() -> None:
    """Switch off, inside a chaos process, what CHAOS_MUTATION names."""
    from worker.queue import reconciler
    from worker.store import queries

    match os.environ.get("CHAOS_MUTATION"):
        case "no lease guard":
            queries.FINISH = _without(queries.FINISH, "AND state = 'running' AND lease_token = %(lease_token)s")
        case "no attempt cap":
            queries.CLAIM = _without(queries.CLAIM, "AND attempts < %(max_attempts)s")
            queries.RECLAIM_EXPIRED = _without(queries.RECLAIM_EXPIRED, "c.attempts >= %(max_attempts)s", "false")
        case "no reconciler":
            reconciler.reconcile_forever = _idle  # type: ignore[assignment]
        case _:
            pass


def mutate_database(connection: psycopg.Connection) -> None:
    """Switch off, in the test's database, what CHAOS_MUTATION names."""
    if os.environ.get("CHAOS_MUTATION") == "no unique verdict":
        connection.execute("DROP INDEX susy.uq_verdicts_live")
        connection.execute("ALTER TABLE susy.verdicts DROP CONSTRAINT uq_verdicts_check_id_policy_name_policy_version")


def _without(query: str, guard: str, instead: str = "") -> str:
    if guard not in query:
        raise ValueError(f"the statement has no {guard!r}; this mutation must follow it")
    return query.replace(guard, instead)


def _idle(_store: object, _publisher: object, _settings: object, stopped: threading.Event) -> None:
    stopped.wait()


def main() -> int:
    """Run each guard's cases with and without it. Exit code 0: every missing guard was noticed."""
    rows = []
    for mutation, cases in MUTATIONS.items():
        sound, mutated = _complaint(cases, None), _complaint(cases, mutation)
        rows.append((mutation, cases, sound, mutated))
        print(f"{mutation}: {mutated or 'nobody noticed'}", flush=True)
    print(f"\n{'switched off':20} {'case':24} {'with it':8} {'without':8}")
    for mutation, cases, sound, mutated in rows:
        print(f"{mutation:20} {cases:24} {_colour(sound):8} {_colour(mutated):8}")
    return 0 if all(mutated and not sound for _, _, sound, mutated in rows) else 1


def _colour(complaint: str) -> str:
    return "red" if complaint else "green"


def _complaint(cases: str, mutation: str | None) -> str:
    """What the cases have to say; nothing when they pass."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CHAOS_")}
    if mutation:
        environment |= {"CHAOS_MUTATION": mutation, "CHAOS_SETTLED_WITHIN": _SETTLED_WITHIN}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "chaos", "-k", cases, "tests/chaos"]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest did not run: {done.stdout}{done.stderr}")
    if done.returncode == 0:
        return ""
    failures = (line for line in done.stdout.splitlines() if line.startswith("E  "))
    return next(failures, "E  an error").removeprefix("E").strip()[:160]


if __name__ == "__main__":
    sys.exit(main())
