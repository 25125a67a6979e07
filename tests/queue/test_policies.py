"""A running worker follows the policies of the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from schema.messages import Submission
from schema.states import CheckState, Decision
from tests.support.databases import Sql
from worker.errors import ErrorCode
from worker.policy.policy import Policy
from worker.policy.selection import PinnedPolicies
from worker.queue.attempt import attempt
from worker.queue.policies import RENEW_EVERY, CurrentPolicies
from worker.queue.runtime import Runtime
from worker.store import CheckDetails, Store

EVERYTHING_IS_SYNTHETIC = Policy(name="default", synthetic_at=0.0, authentic_below=0.0, minimum_contrast=0)
NOTHING_IS = Policy(name="default", synthetic_at=1.0, authentic_below=1.0, minimum_contrast=0, region_at=1.0)


def activate(store: Store, policy: Policy, also: dict[str, str] | None = None, **configuration: Any) -> None:
    store.policies.put(policy.version, policy.document)
    document = {"active": {policy.name: policy.version.version, **(also or {})}, **configuration}
    store.policies.change(1, document, change=f"activate {policy.version}", changed_by="a", reason="b")


def named(policy: Policy, name: str) -> Policy:
    """The same thresholds under another name."""
    return Policy.model_validate({**policy.document, "name": name})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def examined(runtime: Runtime, images: Path, **changes: Any) -> CheckDetails:
    submission = Submission.model_validate({"source": "test", "uri": str(images / "a.png"), **changes})
    check_id: UUID = runtime.store.submit(submission).check_id
    attempt(check_id, runtime)
    return runtime.store.show(check_id)


def test_a_change_is_followed_within_seconds_and_without_a_restart(store: Store) -> None:
    clock = Clock()
    current = CurrentPolicies(store, PinnedPolicies(), clock=clock)
    before = current.get()
    activate(store, NOTHING_IS)
    assert current.get() is before
    clock.now += RENEW_EVERY
    assert current.get().default == NOTHING_IS
    assert before.default != NOTHING_IS  # an attempt that holds the former set goes on with it


def test_an_unchanged_ledger_is_not_read_again(store: Store) -> None:
    clock = Clock()
    activate(store, NOTHING_IS)
    current = CurrentPolicies(store, PinnedPolicies(), clock=clock)
    before = current.get()
    clock.now += RENEW_EVERY
    assert current.get() is before


def test_a_policy_that_was_activated_a_moment_ago_is_found_by_its_name(store: Store) -> None:
    current = CurrentPolicies(store, PinnedPolicies(), clock=Clock())
    strict = named(NOTHING_IS, "strict")
    activate(store, strict)
    assert current.choose("strict", "avatars", {})[0] == strict


def test_without_a_ledger_the_policies_that_were_read_stay(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    activate(store, NOTHING_IS)
    current = CurrentPolicies(store, PinnedPolicies(), clock=clock)
    store.close()  # every call fails from now on
    for _ in range(3):
        clock.now += RENEW_EVERY
        assert current.get().default == NOTHING_IS


def test_a_policy_of_a_later_version_is_not_half_understood(store: Store, run: Sql) -> None:
    clock = Clock()
    current = CurrentPolicies(store, PinnedPolicies(), clock=clock)
    run(
        "INSERT INTO susy.policies (name, version, document) VALUES ('default', '0123456789ab', %s::jsonb)",
        '{"name": "default", "synthetic_at": 0.5, "authentic_below": 0.5, "invented_later": 1}',
    )
    configuration = {"active": {"default": "0123456789ab"}}
    store.policies.change(1, configuration, change="activate", changed_by="a", reason="b")
    before = current.get()
    clock.now += RENEW_EVERY
    assert current.get() is before


def test_a_check_is_decided_by_the_route_of_its_source_and_attributes(runtime: Runtime, images: Path) -> None:
    bold = named(EVERYTHING_IS_SYNTHETIC, "bold")
    runtime.store.policies.put(bold.version, bold.document)
    route = {"source": "test", "attributes": {"country": "de"}, "policy": "bold"}
    activate(runtime.store, NOTHING_IS, routes=[route], also={"bold": bold.version.version})
    runtime.policies._read_at = float("-inf")  # as if the time had passed
    assert _decision(examined(runtime, images)) is Decision.AUTHENTIC
    assert _decision(examined(runtime, images, attributes={"country": "de"})) is Decision.SYNTHETIC


def test_the_verdict_names_the_version_that_decided(runtime: Runtime, images: Path) -> None:
    activate(runtime.store, EVERYTHING_IS_SYNTHETIC)
    runtime.policies._read_at = float("-inf")
    details = examined(runtime, images)
    assert details.verdict is not None
    assert details.verdict.decision is Decision.SYNTHETIC
    assert details.verdict.policy == EVERYTHING_IS_SYNTHETIC.version


def test_an_unknown_policy_quarantines_with_the_remedy(runtime: Runtime, images: Path) -> None:
    details = examined(runtime, images, policy="unheard-of")
    assert details.state is CheckState.QUARANTINED
    assert details.error is not None
    assert details.error.code == ErrorCode.UNKNOWN_POLICY
    assert "susy policy activate" in details.error.message


def test_a_shadow_is_recorded_beside_the_live_verdict_and_has_no_effect(
    runtime: Runtime, images: Path, run: Sql
) -> None:
    shadow = named(EVERYTHING_IS_SYNTHETIC, "bold")
    runtime.store.policies.put(shadow.version, shadow.document)
    activate(runtime.store, NOTHING_IS, shadows=[{"name": "bold", "version": shadow.version.version}])
    runtime.policies._read_at = float("-inf")
    details = examined(runtime, images)
    assert _decision(details) is Decision.AUTHENTIC
    [(check_id, decision, shadowed)] = run("SELECT id, decision, shadow_decision FROM dashboard.shadow_differences")
    assert (check_id, decision, shadowed) == (details.check_id, "authentic", "synthetic")
    assert run("SELECT name, shadow_sample FROM dashboard.policies WHERE shadow_sample > 0") == [("bold", 1.0)]
    assert run("SELECT count(*) FROM dashboard.review_queue WHERE policy = 'bold'") == [(0,)]


def test_what_is_drawn_for_an_audit_stands_in_the_review_queue_and_says_why(
    runtime: Runtime, images: Path, run: Sql
) -> None:
    activate(runtime.store, NOTHING_IS, audits=[{"policy": NOTHING_IS.name, "source": "test", "rate": 1}])
    runtime.policies._read_at = float("-inf")
    details = examined(runtime, images)
    assert run("SELECT audit_rate FROM dashboard.checks") == [(1.0,)]
    queued = run("SELECT id, needs_review, audit_rate, decision FROM dashboard.review_queue")
    assert queued == [(details.check_id, False, 1.0, "authentic")]
    runtime.store.add_review(details.check_id, reviewer="ada", decision=Decision.AUTHENTIC)
    assert run("SELECT count(*) FROM dashboard.review_queue") == [(0,)]


def _decision(details: CheckDetails) -> Decision:
    assert details.verdict is not None, details.error
    return details.verdict.decision
