"""The mutations still find the guards that they switch off."""

from __future__ import annotations

import psycopg
import pytest

from tests.chaos.mutations import MUTATIONS, Mutation, mutate_database
from tests.support.checkout import CHECKOUT
from worker.queue import reconciler
from worker.store import queries


@pytest.fixture(params=MUTATIONS.values(), ids=list(MUTATIONS))
def mutation(request: pytest.FixtureRequest) -> Mutation:
    found: Mutation = request.param
    return found


def test_a_mutation_changes_what_it_names(
    mutation: Mutation, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def present() -> tuple[object, ...]:
        with psycopg.connect(database_url) as connection:
            indexes = connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'susy'").fetchall()
        statements = [getattr(queries, name) for name in queries.STATEMENTS]
        return (statements, reconciler.reconcile_forever, sorted(indexes))

    before = present()
    monkeypatch.setenv("CHAOS_MUTATION", mutation.guard)
    mutation.process(monkeypatch.setattr)
    with psycopg.connect(database_url) as connection:
        mutate_database(connection)
    assert sum(old != new for old, new in zip(before, present(), strict=True)) == 1


def test_the_case_that_must_notice_exists(mutation: Mutation) -> None:
    cases = "".join(path.read_text() for path in (CHECKOUT / "tests/chaos").glob("test_*.py"))
    assert mutation.case in cases


def test_a_mutation_that_does_not_find_its_guard_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "FINISH", "SELECT 1")
    with pytest.raises(ValueError, match="FINISH does not contain"):
        MUTATIONS["lease token"].process(monkeypatch.setattr)
