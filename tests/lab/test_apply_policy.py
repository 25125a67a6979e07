"""Old checks are decided again: what is replaced, what stays, and what happens when several do it at once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from schema.scan import Scan
from schema.states import CheckState, Decision, EventType
from schema.verdict import PolicyVersion, Verdict
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import claimed, examination, submission
from tests.support.scans import scan_of
from worker.errors import ErrorCode, TransientError
from worker.lab.apply_policy import Applied, Deciding, apply_policy, unknown_policy
from worker.localization.heatmap import heatmap
from worker.localization.regions import find_regions
from worker.policy.decide import decide
from worker.policy.policy import Policy
from worker.store import CheckFilter, Replacement, Store

OLD = Policy(name="uploads", synthetic_at=0.5, authentic_below=0.1, minimum_contrast=0)
NEW = Policy(name="uploads", synthetic_at=0.95, authentic_below=0.9, minimum_contrast=0)
HISTORY = """
    SELECT mode, decision, policy_version FROM susy.verdicts WHERE check_id = %s
    ORDER BY superseded_at NULLS LAST, mode
"""


def scan(authentic: float, content: int) -> Scan:
    return replace(scan_of((authentic,) * 4), content_sha256=f"{content:064x}")


def recorded(store: Store, authentic: float, content: int, policy: Policy = OLD, **changes: Any) -> UUID:
    """A check that `policy` has decided."""
    examined = scan(authentic, content)
    claim = claimed(store, **changes)
    store.record(claim, replace(examination(examined, examined_by(examined, policy)), policy=policy.document))
    return claim.check_id


def examined_by(examined: Scan, policy: Policy) -> Verdict:
    """The verdict of a worker."""
    return decide(examined, policy, find_regions(heatmap(examined), policy.region_at, policy.generator_share))


@pytest.fixture
def past(store: Store) -> list[UUID]:
    """Synthetic and inconclusive, which `NEW` calls authentic; synthetic and authentic, about which both agree."""
    for policy in (OLD, NEW):
        store.policies.put(policy.version, policy.document)
    return [
        recorded(store, 0.4, 1, source="avatars"),
        recorded(store, 0.7, 2, source="posts"),
        recorded(store, 0.01, 3, source="avatars"),
        recorded(store, 0.99, 4, source="posts"),
    ]


def applied(store: Store, policy: Policy = NEW, *, reviewed: bool = False, batch: int = 3, **where: Any) -> Applied:
    application = store.applications.begin(policy.version, {}, applied_by="ada")

    def write(replacements: Mapping[UUID, Replacement]) -> set[UUID]:
        return store.applications.replace(application, policy.version, replacements, reviewed=reviewed)

    batches = store.policies.decided_scans(unless_by=policy.version, batch=batch, **where)
    result = apply_policy(policy, batches, write, reviewed=reviewed)
    store.applications.finish(application)
    return result


def live(store: Store, check_id: UUID) -> Decision:
    verdict = store.show(check_id).verdict
    assert verdict is not None
    return verdict.decision


def test_new_verdicts_count_and_old_ones_are_history(store: Store, past: list[UUID], run: Sql) -> None:
    result = applied(store)
    assert (result.checks, result.replaced, result.changed, result.overtaken) == (4, 4, 2, 0)
    assert {(flip.source, flip.before, flip.after): count for flip, count in result.flips.items()} == {
        ("avatars", Decision.SYNTHETIC, Decision.AUTHENTIC): 1,
        ("posts", Decision.INCONCLUSIVE, Decision.AUTHENTIC): 1,
    }
    assert result.replaced_policies == {OLD.version: 4}
    assert run(HISTORY, past[0]) == [
        ("superseded", "synthetic", OLD.version.version),
        ("live", "authentic", NEW.version.version),
    ]
    verdict = store.show(past[0]).verdict
    assert verdict == decide(scan(0.4, 1), NEW, ())
    [row] = run("SELECT replaced, changed, applied_by, finished_at IS NOT NULL FROM dashboard.policy_applications")
    assert row == (4, 2, "ada", True)


def test_a_new_verdict_has_the_regions_that_a_worker_would_find(store: Store, run: Sql) -> None:
    for policy in (OLD, NEW):
        store.policies.put(policy.version, policy.document)
    examined = scan_of((0.01, 0.99, 0.99, 0.99))
    claim = claimed(store)
    store.record(claim, replace(examination(examined, decide(examined, OLD, ())), policy=OLD.document))
    assert applied(store).replaced == 1
    verdict = store.show(claim.check_id).verdict
    assert verdict is not None
    assert verdict.regions == find_regions(heatmap(examined), NEW.region_at, NEW.generator_share)
    assert verdict.regions


def test_regions_are_kept_where_the_policy_before_found_the_same(store: Store, run: Sql) -> None:
    other = Policy(name="uploads", synthetic_at=0.95, authentic_below=0.9, minimum_contrast=0, region_at=0.995)
    policies = {policy.version: policy for policy in (OLD, NEW, other)}
    for policy in policies.values():
        store.policies.put(policy.version, policy.document)
    examined = scan_of((0.01, 0.99, 0.99, 0.99))
    claim = claimed(store)
    store.record(claim, replace(examination(examined, examined_by(examined, OLD)), policy=OLD.document))
    decide_new = Deciding(NEW, policies.get)
    [[check]] = store.policies.decided_scans()
    assert decide_new([check])[0].keeps_regions
    assert not Deciding(NEW, unknown_policy)([check])[0].keeps_regions
    assert not Deciding(other, policies.get)([check])[0].keeps_regions
    application = store.applications.begin(NEW.version, {}, applied_by="ada")
    apply_policy(
        NEW,
        [[check]],
        lambda made: store.applications.replace(application, NEW.version, made),
        find_policy=policies.get,
    )
    verdict = store.show(claim.check_id).verdict
    assert verdict == examined_by(examined, NEW)
    run("UPDATE susy.scans SET updated_at = now() + interval '1 second'")
    [[changed]] = store.policies.decided_scans()
    assert not Deciding(OLD, policies.get)([changed])[0].keeps_regions


def test_the_earlier_version_can_be_applied_again_however_often(store: Store, past: list[UUID], run: Sql) -> None:
    before = [store.show(check_id).verdict for check_id in past]
    for _ in range(2):
        applied(store)
        assert applied(store, OLD, decided_by=NEW.version).replaced == 4
    assert [store.show(check_id).verdict for check_id in past] == before
    assert len(run(HISTORY, past[0])) == 5
    assert run("SELECT DISTINCT count(*) FROM susy.verdicts WHERE mode = 'live' GROUP BY check_id") == [(1,)]


def test_only_decisions_that_change_have_events_and_these_name_what_was_before(store: Store, past: list[UUID]) -> None:
    last = store.events_after(0, limit=100)[-1].position
    applied(store)
    events = store.events_after(last, limit=100)
    assert {event.check_id for event in events} == set(past[:2])
    assert {event.type for event in events} == {EventType.VERDICT_CHANGED}
    [changed] = [event for event in events if event.check_id == past[0]]
    assert (changed.data["decision"], changed.data["policy"]["version"]) == ("authentic", NEW.version.version)
    previous = {"name": "uploads", "version": OLD.version.version}
    assert changed.data["previous"] == {"decision": "synthetic", "score": 0.6001, "policy": previous}
    assert applied(store).replaced == 0
    assert store.events_after(events[-1].position, limit=100) == ()


def test_an_event_is_written_with_its_verdict_or_not_at_all(store: Store, past: list[UUID], run: Sql) -> None:
    """A fault in the transaction, after the old verdict was superseded: a table of events that takes none."""
    before = run("SELECT * FROM susy.verdicts ORDER BY id")
    run("ALTER TABLE susy.events ADD CONSTRAINT none CHECK (type <> 'image.verdict.changed') NOT VALID")
    with pytest.raises(Exception, match="none"):
        applied(store)
    assert run("SELECT * FROM susy.verdicts ORDER BY id") == before


def test_reviewed_checks_keep_their_verdict_unless_they_are_meant(store: Store, past: list[UUID], run: Sql) -> None:
    store.add_review(past[0], reviewer="ada", decision=Decision.SYNTHETIC)
    assert applied(store).reviewed == 1
    assert live(store, past[0]) is Decision.SYNTHETIC
    result = applied(store, reviewed=True)
    assert (result.replaced, result.reviewed) == (1, 0)
    assert live(store, past[0]) is Decision.AUTHENTIC
    # The person's word goes on overriding the verdict, and the check does not return to the queue.
    assert run("SELECT final_decision FROM dashboard.checks WHERE id = %s", past[0]) == [("synthetic",)]
    assert run("SELECT reviewed_at IS NOT NULL FROM susy.verdicts WHERE check_id = %s", past[0]) == [(True,)] * 2


def test_a_review_that_arrives_after_a_scan_was_read_protects_its_check(store: Store, past: list[UUID]) -> None:
    batches = list(store.policies.decided_scans(unless_by=NEW.version))
    store.add_review(past[0], reviewer="ada", decision=Decision.SYNTHETIC)
    application = store.applications.begin(NEW.version, {}, applied_by="ada")
    result = apply_policy(NEW, batches, lambda made: store.applications.replace(application, NEW.version, made))
    assert (result.replaced, result.overtaken) == (3, 1)
    assert live(store, past[0]) is Decision.SYNTHETIC


def test_filters_select_by_source_time_and_policy(store: Store, past: list[UUID]) -> None:
    assert applied(store, since=store.now()).checks == 0
    assert applied(store, decided_by="strict").checks == 0
    assert applied(store, decided_by=PolicyVersion("uploads", "0" * 12)).checks == 0
    assert applied(store, source="posts").checks == 2
    assert applied(store, decided_by="uploads").checks == 2
    assert applied(store).checks == 0


def test_a_run_that_was_interrupted_resumes(store: Store, past: list[UUID], run: Sql) -> None:
    application = store.applications.begin(NEW.version, {}, applied_by="ada")
    calls = []

    def write(made: Mapping[UUID, Replacement]) -> set[UUID]:
        calls.append(made)
        if len(calls) == 3:
            raise TransientError(ErrorCode.DATABASE_UNAVAILABLE, "Postgres went away")
        return store.applications.replace(application, NEW.version, made)

    with pytest.raises(TransientError):
        apply_policy(NEW, store.policies.decided_scans(unless_by=NEW.version, batch=1), write)
    assert run("SELECT replaced, finished_at FROM susy.policy_applications") == [(2, None)]
    assert applied(store).replaced == 2
    assert len(run("SELECT id FROM susy.verdicts WHERE mode = 'superseded'")) == 4


def test_two_runs_at_once_do_the_work_of_one(store: Store, past: list[UUID], run: Sql) -> None:
    for content in range(5, 45):
        recorded(store, 0.4, content)
    both = threading.Barrier(2)
    results = []

    def go() -> None:
        batches = list(store.policies.decided_scans(unless_by=NEW.version, batch=7))
        both.wait(10)
        application = store.applications.begin(NEW.version, {}, applied_by="ada")
        results.append(
            apply_policy(NEW, batches, lambda made: store.applications.replace(application, NEW.version, made))
        )

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [result.checks for result in results] == [44, 44]
    assert sum(result.replaced for result in results) == 44
    assert run("SELECT count(*) FROM susy.events WHERE type = 'image.verdict.changed'") == [(42,)]
    assert run("SELECT mode, count(*) FROM susy.verdicts GROUP BY mode ORDER BY mode") == [
        ("live", 44),
        ("superseded", 44),
    ]


def test_a_verdict_in_shadow_becomes_the_one_that_counts(store: Store, past: list[UUID], run: Sql) -> None:
    run(
        """INSERT INTO susy.verdicts (id, check_id, scan_id, policy_name, policy_version, mode, decision, class_scores,
            reasons, needs_review, regions)
        SELECT gen_random_uuid(), check_id, scan_id, 'uploads', %s, 'shadow', 'synthetic', '{}', '{x}', true, '[]'
        FROM susy.verdicts WHERE check_id = %s""",
        NEW.version.version,
        past[0],
    )
    applied(store)
    assert run(HISTORY, past[0]) == [
        ("superseded", "synthetic", OLD.version.version),
        ("live", "authentic", NEW.version.version),
    ]
    applied(store, OLD, decided_by=NEW.version)
    assert live(store, past[0]) is Decision.SYNTHETIC


def test_checks_that_are_not_done_are_not_touched_and_workers_record_beside_it(store: Store, past: list[UUID]) -> None:
    failed = claimed(store)
    store.fail(failed, code=ErrorCode.CORRUPT, message="no header", retry_in=None)
    cancelled = store.submit(submission()).check_id
    store.cancel(CheckFilter(check_ids=[cancelled]))
    running = claimed(store)
    batches = store.policies.decided_scans(unless_by=NEW.version, batch=1)
    first = next(batches)
    examined = scan(0.4, 9)
    store.record(running, replace(examination(examined, decide(examined, OLD, ())), policy=OLD.document))
    application = store.applications.begin(NEW.version, {}, applied_by="ada")
    result = apply_policy(
        NEW, [first, *batches], lambda made: store.applications.replace(application, NEW.version, made)
    )
    assert result.replaced == 5
    assert live(store, running.check_id) is Decision.AUTHENTIC
    assert store.show(failed.check_id).state is CheckState.QUARANTINED
    assert store.show(cancelled).state is CheckState.CANCELLED


def test_the_command_shows_applies_and_undoes(
    susy: Susy, store: Store, past: list[UUID], run: Sql, database_url: str
) -> None:
    given = {"SUSY_DATABASE_URL": database_url}
    written = "SELECT (SELECT count(*) FROM susy.verdicts), (SELECT count(*) FROM susy.policy_applications)"
    before = run(written)
    tried = susy("policy", "apply", str(NEW.version), "--dry-run", "--json", **given).document
    assert (tried["dry_run"], tried["application"], tried["checks"], tried["changed"]) == (True, None, 4, 2)
    assert run(written) == before
    done = susy(
        "policy", "apply", str(NEW.version), "--by", "ada", "--reason", "calibrated", "--json", **given
    ).document
    assert (done["replaced"], done["changed"], done["flips"]) == (4, 2, tried["flips"])
    assert done["replaced_policies"] == {str(OLD.version): 4}
    recorded_as = run("SELECT policy, applied_by, reason, replaced FROM dashboard.policy_applications")
    assert recorded_as == [("uploads", "ada", "calibrated", 4)]
    undone = susy("policy", "apply", str(OLD.version), "--decided-by", str(NEW.version), "--source", "posts", **given)
    assert "replaced 2, changed 1" in undone.stdout
    assert "To undo: susy policy undo 2" in undone.stderr
    assert live(store, past[1]) is Decision.INCONCLUSIVE
    assert susy("policy", "apply", "uploads@000000000000", **given).code == 1
    assert susy("policy", "apply", "uploads", **given).code == 2
    assert susy("policy", "apply", str(NEW.version), "--since", "yesterday", **given).code == 2
