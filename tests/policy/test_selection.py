"""Which policy decides about a check: files before the ledger, names before routes."""

from __future__ import annotations

from pathlib import Path

import pytest

from schema.verdict import PolicyVersion
from worker.errors import ErrorCode, PermanentError, SetupError
from worker.policy.configuration import PolicyConfiguration, Route, Shadow
from worker.policy.policy import Policy, default_policy
from worker.policy.selection import PinnedPolicies, PolicySet, load_pinned

STRICT = Policy(name="strict", synthetic_at=0.8, authentic_below=0.2)
STRICTER = Policy(name="strict", synthetic_at=0.7, authentic_below=0.1)
OWN_DEFAULT = Policy(name="default", synthetic_at=0.6, authentic_below=0.3)


def policies(*active: Policy, pinned: PinnedPolicies | None = None, **configuration: object) -> PolicySet:
    """A set in which `active` are active in the ledger."""
    named = {policy.name: policy.version.version for policy in active}
    parsed = PolicyConfiguration.model_validate({"active": named, **configuration})
    return PolicySet(pinned or PinnedPolicies(), parsed, {policy.version: policy for policy in active}, 1)


def test_without_files_and_ledger_the_built_in_policy_decides() -> None:
    assert PolicySet(PinnedPolicies()).choose(None, "avatars", {}) == default_policy()


def test_an_active_version_of_the_default_replaces_the_built_in_one() -> None:
    assert policies(OWN_DEFAULT).choose(None, "avatars", {}) == OWN_DEFAULT


def test_the_first_route_that_matches_decides_and_the_default_comes_last() -> None:
    chosen = policies(
        STRICT,
        routes=[
            {"source": "avatars", "attributes": {"country": "de", "minor": True}, "policy": "default"},
            {"source": "avatars", "policy": "strict"},
        ],
    )
    assert chosen.choose(None, "avatars", {"country": "de", "minor": True, "other": 1}) == default_policy()
    assert chosen.choose(None, "avatars", {"country": "de"}) == STRICT
    assert chosen.choose(None, "avatars", {"country": "de", "minor": 1}) == STRICT  # 1 is not true
    assert chosen.choose(None, "posts", {"country": "de", "minor": True}) == default_policy()


def test_a_check_that_names_a_policy_takes_no_route() -> None:
    chosen = policies(STRICT, routes=[{"source": "avatars", "policy": "default"}])
    assert chosen.choose("strict", "avatars", {}) == STRICT
    with pytest.raises(PermanentError, match="unheard-of") as unknown:
        chosen.choose("unheard-of", "avatars", {})
    assert unknown.value.code is ErrorCode.UNKNOWN_POLICY


def test_a_policy_file_decides_whatever_the_ledger_says() -> None:
    pinned = PinnedPolicies(STRICTER, {"strict": STRICTER})
    chosen = policies(STRICT, OWN_DEFAULT, pinned=pinned, routes=[{"policy": "default"}])
    assert chosen.choose(None, "avatars", {}) == STRICTER
    assert chosen.choose("strict", "avatars", {}) == STRICTER
    assert chosen.choose("default", "avatars", {}) == OWN_DEFAULT
    assert list(chosen) == [STRICTER, OWN_DEFAULT]


def test_a_shadow_decides_about_the_same_share_of_contents_each_time() -> None:
    shadow = Shadow(name="strict", version=STRICT.version.version, sample=0.25)
    chosen = policies(STRICT, shadows=[shadow])
    contents = [f"{number:064x}" for number in range(4000)]
    sampled = [content for content in contents if chosen.shadows(default_policy(), content)]
    assert 900 < len(sampled) < 1100
    assert sampled == [content for content in contents if chosen.shadows(default_policy(), content)]
    assert chosen.shadows(default_policy(), sampled[0]) == (STRICT,)


def test_a_shadow_is_silent_where_it_decides_itself() -> None:
    shadow = Shadow(name="strict", version=STRICT.version.version)
    assert policies(STRICT, shadows=[shadow]).shadows(STRICT, "0" * 64) == ()


def test_an_audit_draws_a_stable_share_of_contents_and_a_higher_rate_draws_the_same_and_more() -> None:
    contents = [f"{number:064x}" for number in range(4000)]

    def drawn(rate: float, version: Policy = STRICT) -> set[str]:
        chosen = policies(version, audits=[{"policy": "strict", "rate": rate}])
        assert {chosen.audit_rate(version, "avatars", content) for content in contents} <= {rate, None}
        return {content for content in contents if chosen.audit_rate(version, "avatars", content)}

    assert 320 < len(drawn(0.1)) < 480  # five standard deviations
    assert drawn(0.1) == drawn(0.1, STRICTER)
    assert drawn(0.1) < drawn(0.2)
    assert drawn(0) == set()
    assert drawn(1) == set(contents)


def test_the_rate_of_a_source_comes_before_that_of_all_sources_and_another_policys_does_not_count() -> None:
    audits = [{"policy": "strict", "rate": 1}, {"policy": "strict", "source": "avatars", "rate": 0}]
    chosen = policies(STRICT, audits=audits)
    assert chosen.audit_rate(STRICT, "posts", "0" * 64) == 1
    assert chosen.audit_rate(STRICT, "avatars", "0" * 64) is None
    assert chosen.audit_rate(default_policy(), "posts", "0" * 64) is None


def test_two_rates_for_the_same_are_refused_and_an_unused_list_is_not_written() -> None:
    rate = {"policy": "strict", "source": "avatars", "rate": 0.5}
    with pytest.raises(ValueError, match="strict of source 'avatars' has two rates"):
        PolicyConfiguration.model_validate({"audits": [rate, rate]})
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="rate"):
            PolicyConfiguration.model_validate({"audits": [{**rate, "rate": wrong}]})
    assert "audits" not in PolicyConfiguration().document
    once = PolicyConfiguration.model_validate({"audits": [rate]})
    assert PolicyConfiguration.model_validate(once.document) == once


@pytest.mark.parametrize(
    ("routes", "problem"),
    [
        ([{"policy": "strict"}, {"source": "avatars", "policy": "default"}], "route 2 .* is never reached"),
        (
            [{"source": "a", "policy": "x"}, {"attributes": {"b": 1}, "policy": "x"},
             {"source": "a", "attributes": {"b": 1}, "policy": "y"}],
            "route 3 .* is never reached: route 1",
        ),
        ([{"source": "avatars", "polcy": "strict"}], "polcy"),
        ([{"source": "", "policy": "strict"}], "source"),
        ([{"policy": "Not A Name"}], "policy"),
    ],
)  # fmt: skip
def test_routes_that_cannot_be_meant_are_refused(routes: list[dict[str, object]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        PolicyConfiguration.model_validate({"routes": routes})


def test_a_route_covers_another_only_if_it_asks_for_no_more() -> None:
    general, special = Route(source="a", policy="x"), Route(source="a", attributes={"b": 1}, policy="x")
    assert general.covers(special)
    assert not special.covers(general)
    assert not Route(source="b", policy="x").covers(special)


def test_every_version_that_decides_is_referenced() -> None:
    configuration = PolicyConfiguration(
        active={"a": "0" * 12}, shadows=(Shadow(name="a", version="1" * 12),), default="missing"
    )
    assert configuration.referenced() == {PolicyVersion("a", "0" * 12), PolicyVersion("a", "1" * 12)}
    assert configuration.missing() == ["missing"]


def write(folder: Path, policy: Policy, name: str) -> Path:
    path = folder / name
    path.write_text(
        f'name = "{policy.name}"\nsynthetic_at = {policy.synthetic_at}\nauthentic_below = {policy.authentic_below}\n'
    )
    return path


def test_files_are_pinned_by_their_names(tmp_path: Path) -> None:
    write(tmp_path, STRICT, "a.toml")
    pinned = load_pinned(None, tmp_path)
    assert pinned.default is None
    assert pinned.named == {"strict": STRICT}


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, STRICT, "a.toml")
    write(tmp_path, STRICTER, "b.toml")
    with pytest.raises(SetupError, match="strict"):
        load_pinned(None, tmp_path)
