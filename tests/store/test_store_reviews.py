"""What people decide: by Python, by the command line and by SQL, in one way."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from schema.states import Decision
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import CONTENT, claimed, done, submission
from worker.errors import ErrorCode, PermanentError
from worker.store import CheckFilter, Store

RECORD = "SELECT dashboard.record_review(%s, %s, %s)"


@pytest.fixture
def moderate(database_url: str) -> Any:
    """Runs a statement with the rights of the moderators' role."""

    def moderate(query: str, *parameters: object) -> list[Any]:
        with psycopg.connect(database_url) as connection:
            connection.execute("SET ROLE susy_moderator")
            return connection.execute(query, parameters).fetchall()

    return moderate


def quarantined(store: Store) -> UUID:
    claim = claimed(store)
    store.fail(claim, code=ErrorCode.CORRUPT, message="broken", retry_in=None)
    return claim.check_id


def seen(run: Sql, check_id: UUID) -> tuple[Any, ...]:
    [row] = run(
        "SELECT decision, review_decision, final_decision, reviewed_before FROM dashboard.checks WHERE id = %s",
        check_id,
    )
    return row


def test_a_review_overrides_the_verdict_and_a_later_one_the_earlier(store: Store, run: Sql) -> None:
    check_id = done(store).check_id
    assert seen(run, check_id) == ("synthetic", None, "synthetic", None)
    store.add_review(check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    store.add_review(check_id, reviewer="grace", decision=Decision.INCONCLUSIVE)
    assert seen(run, check_id) == ("synthetic", "inconclusive", "inconclusive", None)


def test_a_review_settles_a_check_without_a_verdict(store: Store, run: Sql) -> None:
    check_id = quarantined(store)
    store.add_review(check_id, reviewer="ada", decision=Decision.SYNTHETIC)
    assert seen(run, check_id)[2] == "synthetic"


def test_the_same_content_elsewhere_shows_what_was_decided_before(store: Store, run: Sql) -> None:
    first, second, other = done(store), done(store), done(store, content="e" * 64)
    store.add_review(first.check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    assert run("SELECT content_sha256 FROM susy.reviews") == [(CONTENT,)]
    assert seen(run, second.check_id)[3] == "authentic"
    assert seen(run, first.check_id)[3] is None
    assert seen(run, other.check_id)[3] is None
    queue = run("SELECT id, reviewed_before FROM dashboard.review_queue")
    assert set(queue) == {(second.check_id, "authentic"), (other.check_id, None)}


@pytest.mark.parametrize("state", ["queued", "running", "unknown"])
def test_only_a_check_that_has_ended_is_reviewed(store: Store, run: Sql, moderate: Any, state: str) -> None:
    check_id = {
        "queued": lambda: store.submit(submission()).check_id,
        "running": lambda: claimed(store).check_id,
        "unknown": uuid4,
    }[state]()
    with pytest.raises(PermanentError) as refused:
        store.add_review(check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    assert refused.value.code is (ErrorCode.UNKNOWN_CHECK if state == "unknown" else ErrorCode.CHECK_NOT_ENDED)
    assert str(check_id) in refused.value.message
    with pytest.raises(psycopg.Error, match=str(check_id)):
        moderate(RECORD, check_id, "authentic", "ada")
    assert run("SELECT count(*) FROM susy.reviews") == [(0,)]


def test_a_review_stays_when_its_check_is_examined_again(store: Store, run: Sql) -> None:
    check_id = quarantined(store)
    store.add_review(check_id, reviewer="ada", decision=Decision.SYNTHETIC)
    assert store.requeue(store.show(check_id).state, CheckFilter([check_id])) == 1
    assert seen(run, check_id)[2] == "synthetic"


@pytest.mark.parametrize(
    ("decision", "reviewer"),
    [("perhaps", "ada"), (None, "ada"), ("authentic", ""), ("authentic", "  "), ("authentic", None)],
)
def test_a_review_without_a_decision_or_a_reviewer_is_refused(
    store: Store, run: Sql, moderate: Any, decision: str | None, reviewer: str | None
) -> None:
    check_id = done(store).check_id
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        moderate(RECORD, check_id, decision, reviewer)
    assert run("SELECT count(*) FROM susy.reviews") == [(0,)]


def test_a_moderator_records_reviews_and_does_nothing_else(store: Store, moderate: Any, run: Sql) -> None:
    check_id = done(store).check_id
    [(review_id,)] = moderate("SELECT dashboard.record_review(%s, 'authentic', 'ada', 'a poster')", check_id)
    assert run("SELECT id, reviewer, decision, note FROM susy.reviews") == [(review_id, "ada", "authentic", "a poster")]
    for statement in (
        "SELECT * FROM dashboard.checks",
        "SELECT * FROM susy.reviews",
        "INSERT INTO susy.reviews (id, check_id, reviewer, decision) SELECT gen_random_uuid(), id, 'x', 'authentic'"
        " FROM susy.checks RETURNING id",
        "UPDATE susy.checks SET state = 'done' RETURNING id",
        "DELETE FROM susy.reviews RETURNING id",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            moderate(statement)


def test_the_dashboards_role_records_no_reviews(store: Store, database_url: str) -> None:
    check_id = done(store).check_id
    with psycopg.connect(database_url) as connection:
        connection.execute("SET ROLE susy_dashboard")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(RECORD, (check_id, "authentic", "ada"))


def test_the_command_reviews_a_check(store: Store, run: Sql, susy: Susy, database_url: str) -> None:
    check_id = str(done(store).check_id)
    given = {"SUSY_DATABASE_URL": database_url}
    result = susy("review", check_id, "authentic", "--by", " ada ", "--note", "a poster", "--json", **given)
    assert result.document["decision"] == "authentic"
    assert run("SELECT reviewer, note FROM dashboard.reviews") == [("ada", "a poster")]
    assert susy("review", check_id, "perhaps", "--by", "ada", **given).code == 2
    assert susy("review", check_id, "authentic", "--by", " ", **given).code == 2
    assert susy("review", check_id, "authentic", **given).code == 2
    unknown = susy("review", str(uuid4()), "authentic", "--by", "ada", **given)
    assert (unknown.code, unknown.stderr.split(":")[1].strip()) == (1, "unknown_check")
