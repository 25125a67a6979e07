"""What a policy was applied to is undone as one, whatever had decided before, and undoing is undone likewise."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from schema.scan import Scan
from schema.states import Decision, EventType
from schema.verdict import Region, Verdict
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import claimed, examination
from tests.support.scans import scan_of
from worker.errors import ErrorCode, PermanentError, TransientError
from worker.lab.apply_policy import apply_policy
from worker.lab.undo_application import Undone, undo_application
from worker.policy.decide import decide
from worker.policy.policy import Policy
from worker.store import AppliedVerdict, Store, queries


def policy(name: str, synthetic_at: float, authentic_below: float) -> Policy:
    return Policy(
        name=name,
        synthetic_at=synthetic_at,
        authentic_below=authentic_below,
        minimum_contrast=0,
        region_decides=False,
    )


STRICT = policy("strict", 0.5, 0.1)
LENIENT = policy("lenient", 0.7, 0.6)
NEW = policy("uploads", 0.95, 0.9)
NEWER = policy("uploads", 0.3, 0.2)
REGION = (Region(0, 0, 224, 224, 0.95),)
"""As found by another program: no policy finds it here, so that it can only be a copy."""


def recorded(store: Store, authentic: float, content: int, policy: Policy) -> UUID:
    scan: Scan = replace(scan_of((authentic,) * 4), content_sha256=f"{content:064x}")
    claim = claimed(store, source="avatars" if content % 2 else "posts")
    store.record(claim, replace(examination(scan, decide(scan, policy, REGION)), policy=policy.document))
    return claim.check_id


@pytest.fixture
def past(store: Store) -> list[UUID]:
    """Two checks that `STRICT` and two that `LENIENT` has decided."""
    for policy in (STRICT, LENIENT, NEW, NEWER):
        store.policies.put(policy.version, policy.document)
    return [
        recorded(store, 0.4, 1, STRICT),
        recorded(store, 0.99, 2, STRICT),
        recorded(store, 0.35, 3, LENIENT),
        recorded(store, 0.01, 4, LENIENT),
    ]


def applied(store: Store, policy: Policy, *, reviewed: bool = False) -> int:
    application = store.applications.begin(policy.version, {}, applied_by="ada")
    apply_policy(
        policy,
        store.policies.decided_scans(unless_by=policy.version),
        lambda made: store.applications.replace(application, policy.version, made, reviewed=reviewed),
        reviewed=reviewed,
    )
    return application


def undone(store: Store, application: int, *, reviewed: bool = False, batch: int = 3) -> tuple[int, Undone]:
    policy = store.applications.get(application).policy
    number = store.applications.begin(policy, {}, applied_by="grace", undoes=application)
    result = undo_application(
        store.applications.written(application, batch=batch),
        lambda verdicts: store.applications.undo(number, verdicts, reviewed=reviewed),
        reviewed=reviewed,
    )
    return number, result


def verdicts(store: Store, past: list[UUID]) -> list[Verdict | None]:
    return [store.show(check_id).verdict for check_id in past]


def test_verdicts_of_several_policies_are_restored_by_one_undo(store: Store, past: list[UUID], run: Sql) -> None:
    before = verdicts(store, past)
    application = applied(store, NEW)
    assert verdicts(store, past) != before
    last = store.events_after(0, limit=100)[-1].position
    rows = run("SELECT count(*) FROM susy.verdicts")[0][0]

    number, result = undone(store, application)
    assert verdicts(store, past) == before
    assert (result.checks, result.restored, result.reviewed, result.decided_again) == (4, 4, 0, 0)
    assert result.policies == {STRICT.version: 2, LENIENT.version: 2}
    assert {(flip.source, flip.before, flip.after): count for flip, count in result.flips.items()} == {
        ("avatars", Decision.AUTHENTIC, Decision.SYNTHETIC): 1,
        ("avatars", Decision.AUTHENTIC, Decision.INCONCLUSIVE): 1,
    }
    # Nothing was deleted, and each decision that changed was announced.
    assert run("SELECT count(*) FROM susy.verdicts") == [(rows + 4,)]
    events = store.events_after(last, limit=100)
    assert {(event.check_id, event.type) for event in events} == {
        (past[0], EventType.VERDICT_CHANGED),
        (past[2], EventType.VERDICT_CHANGED),
    }
    [event] = [event for event in events if event.check_id == past[0]]
    assert (event.data["decision"], event.data["policy"]["name"]) == ("synthetic", "strict")
    assert event.data["previous"]["decision"] == "authentic"
    [listed] = [each for each in store.applications.latest(5) if each.application_id == number]
    assert (listed.undoes, listed.applied_by, listed.replaced, listed.changed) == (application, "grace", 4, 2)
    assert run("SELECT kind, actor, action, subject FROM dashboard.audit_log WHERE actor = 'grace'") == [
        ("policy", "grace", f"undo application {application}", f"application {number}")
    ]


def test_an_undo_is_undone_and_the_application_undone_again(store: Store, past: list[UUID]) -> None:
    before = verdicts(store, past)
    application = applied(store, NEW)
    after = verdicts(store, past)
    number, _ = undone(store, application)
    assert undone(store, application)[1].undone_before == 4
    again, result = undone(store, number)
    assert result.restored == 4
    assert verdicts(store, past) == after
    assert undone(store, application)[1].restored == 4
    assert verdicts(store, past) == before
    assert undone(store, again)[1].restored == 0


def test_applications_are_undone_one_after_the_other_from_the_last(store: Store, past: list[UUID]) -> None:
    before = verdicts(store, past)
    first = applied(store, NEW)
    between = verdicts(store, past)
    second = applied(store, NEWER)
    assert undone(store, first)[1].decided_again == 4
    assert undone(store, second)[1].restored == 4
    assert verdicts(store, past) == between
    _, result = undone(store, first)
    assert (result.restored, result.decided_again) == (4, 0)
    assert verdicts(store, past) == before


def test_reviewed_checks_are_left_alone_unless_they_are_meant(store: Store, past: list[UUID]) -> None:
    application = applied(store, NEW)
    store.add_review(past[0], reviewer="ada", decision=Decision.SYNTHETIC)
    after = verdicts(store, past)[0]
    assert (undone(store, application)[1].reviewed, verdicts(store, past)[0]) == (1, after)
    number, result = undone(store, application, reviewed=True)
    assert (result.restored, result.undone_before) == (1, 3)
    verdict = verdicts(store, past)[0]
    assert verdict is not None
    assert verdict.policy == STRICT.version
    assert store.applications.get(number).replaced == 1


@pytest.mark.parametrize("meddle", ["a review", "another application"])
def test_what_happens_between_reading_and_writing_protects_its_check(
    store: Store, past: list[UUID], meddle: str
) -> None:
    application = applied(store, NEW)
    number = store.applications.begin(NEW.version, {}, applied_by="grace", undoes=application)

    def late(batch: list[AppliedVerdict]) -> set[UUID]:
        if meddle == "a review":
            store.add_review(past[0], reviewer="ada", decision=Decision.SYNTHETIC)
        else:
            applied(store, NEWER)
        return store.applications.undo(number, batch)

    result = undo_application(store.applications.written(application), late)
    expected = (3, 1) if meddle == "a review" else (0, 4)
    assert (result.restored, result.decided_again) == expected
    verdict = verdicts(store, past)[0]
    assert verdict is not None
    assert verdict.policy == (NEW if meddle == "a review" else NEWER).version


def test_an_undo_that_was_interrupted_resumes(store: Store, past: list[UUID], run: Sql) -> None:
    before = verdicts(store, past)
    application = applied(store, NEW)
    number = store.applications.begin(NEW.version, {}, applied_by="grace", undoes=application)
    calls = []

    def breaking(batch: list[AppliedVerdict]) -> set[UUID]:
        calls.append(batch)
        if len(calls) == 3:
            raise TransientError(ErrorCode.DATABASE_UNAVAILABLE, "Postgres went away")
        return store.applications.undo(number, batch)

    with pytest.raises(TransientError):
        undo_application(store.applications.written(application, batch=1), breaking)
    assert store.applications.get(number).replaced == 2
    _, result = undone(store, application, batch=1)
    assert (result.restored, result.undone_before) == (2, 2)
    assert verdicts(store, past) == before
    assert run("SELECT DISTINCT count(*) FROM susy.verdicts WHERE mode = 'live' GROUP BY check_id") == [(1,)]


def test_a_shadow_of_the_restored_version_gives_way(store: Store, past: list[UUID], run: Sql) -> None:
    application = applied(store, NEW)
    run(
        """INSERT INTO susy.verdicts (id, check_id, scan_id, policy_name, policy_version, mode, decision, class_scores,
            reasons, needs_review, regions)
        SELECT gen_random_uuid(), check_id, scan_id, 'strict', %s, 'shadow', 'inconclusive', '{}', '{x}', true, '[]'
        FROM susy.verdicts WHERE check_id = %s AND mode = 'live'""",
        STRICT.version.version,
        past[0],
    )
    undone(store, application)
    verdict = verdicts(store, past)[0]
    assert verdict is not None
    assert (verdict.policy, verdict.decision) == (STRICT.version, Decision.SYNTHETIC)


def test_what_an_application_wrote_is_found_by_an_index(store: Store) -> None:
    values = {"application_id": 1, "after": UUID(int=0), "limit": 10}
    with store._database.connection() as connection, connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = connection.execute("EXPLAIN " + queries.APPLIED_VERDICTS, values).fetchall()
    assert any("ix_verdicts_application" in line for (line,) in plan)


def test_the_command_shows_undoes_and_lists(
    susy: Susy, store: Store, past: list[UUID], database_url: str, run: Sql
) -> None:
    given = {"SUSY_DATABASE_URL": database_url}
    before = verdicts(store, past)
    done = susy("policy", "apply", str(NEW.version), "--by", "ada", **given)
    assert "To undo: susy policy undo 1" in done.stderr
    assert f"2 by {STRICT.version}" in done.stderr
    tried = susy("policy", "undo", "1", "--dry-run", "--json", **given).document
    assert (tried["dry_run"], tried["application"], tried["restored"], tried["changed"]) == (True, None, 4, 2)
    assert len(run("SELECT id FROM susy.policy_applications")) == 1
    first = susy("policy", "undo", "1", "--by", "grace", "--reason", "too lenient", **given)
    assert "application 2 to undo application 1: restored 4, changed 2" in first.stdout
    assert verdicts(store, past) == before
    repeated = susy("policy", "undo", "1", **given)
    assert "nothing to undo application 1: restored 0" in repeated.stdout
    assert "undone before 4" in repeated.stdout
    lines = susy("policy", "history", "--json", **given).documents
    assert [line["change"] for line in lines] == ["undo application 1", f"apply {NEW.version}"]
    assert (lines[0]["by"], lines[0]["reason"], lines[0]["undoes"], lines[0]["changed"]) == (
        "grace", "too lenient", 1, 2,
    )  # fmt: skip
    shown = susy("policy", "history", **given).stdout
    assert "application 2" in shown
    unknown = susy("policy", "undo", "9", **given)
    assert (unknown.code, "unknown_application" in unknown.stderr) == (1, True)
    assert susy("policy", "undo", "0", **given).code == 2
    with pytest.raises(PermanentError, match="no application 9"):
        store.applications.get(9)
