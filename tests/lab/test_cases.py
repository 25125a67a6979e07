"""The regression set: what becomes a case, and what policies and weights decide about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from schema.states import Decision
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import claimed, examination
from tests.support.scans import scan_of
from worker.cli.policies import change
from worker.demo import SAMPLES
from worker.lab.cases import Change, Outcome, compare_policies
from worker.lab.dataset.layouts import open_dataset
from worker.pipeline.examine import content_digest
from worker.policy.configuration import PolicyConfiguration
from worker.policy.decide import decide
from worker.policy.policy import Policy
from worker.store import Store
from worker.store.cases import Case
from worker.store.migrate import downgrade, upgrade

OLD = Policy(name="uploads", synthetic_at=0.5, authentic_below=0.2, minimum_contrast=0)
STRICT = Policy(name="uploads", synthetic_at=0.95, authentic_below=0.9, minimum_contrast=0)
WIDE = Policy(name="uploads", synthetic_at=0.95, authentic_below=0.05, minimum_contrast=0)


def decided(store: Store, authentic: float, content: int | str, review: str | None = None, **changes: Any) -> UUID:
    """A check that `OLD` has decided and a person has reviewed."""
    digest = content if isinstance(content, str) else f"{content:064x}"
    scan = replace(scan_of((authentic,) * 3), content_sha256=digest)
    claim = claimed(store, **changes)
    store.record(claim, replace(examination(scan, decide(scan, OLD, ())), policy=OLD.document))
    if review is not None:
        store.add_review(claim.check_id, reviewer="ada", decision=Decision(review))
    return claim.check_id


def cases_of(store: Store) -> list[Case]:
    return [case for batch in store.cases.read(batch=2) for case in batch]


def changes_of(store: Store, policy: Policy, before: Policy | None = None) -> dict[int, Change]:
    outcomes = compare_policies(store.cases.read(batch=2), policy, before)
    return {int(outcome.case.content_sha256, 16): outcome.change for outcome in outcomes}


def test_a_review_that_says_the_opposite_makes_a_case_and_no_other_does(store: Store) -> None:
    decided(store, 0.3, 1, "authentic", source="posts", external_id="p-1")
    decided(store, 0.3, 2, "synthetic")
    decided(store, 0.7, 3, "authentic")  # inconclusive: nothing was overridden
    decided(store, 0.3, 4, "inconclusive")
    decided(store, 0.3, 5)
    [case] = cases_of(store)
    assert (case.source, case.external_id, case.policy_name, case.added_by) == ("posts", "p-1", "uploads", "ada")
    assert (case.expected, case.overridden) == (Decision.AUTHENTIC, Decision.SYNTHETIC)
    assert case.scan is not None


def test_a_content_is_one_case_and_follows_the_review_that_counts(store: Store) -> None:
    decided(store, 0.3, 1, "authentic")
    second = decided(store, 0.3, 1, "authentic", source="posts")
    [case] = cases_of(store)
    assert case.check_id == second
    store.add_review(second, reviewer="bob", decision=Decision.INCONCLUSIVE)
    assert cases_of(store)[0].expected is None
    assert changes_of(store, STRICT) == {1: Change.WITHDRAWN}
    latest = store.add_review(second, reviewer="eve", decision=Decision.AUTHENTIC)
    assert cases_of(store)[0].expected is Decision.AUTHENTIC
    store.reviews.undo(latest, by="eve", reason="the wrong image")
    assert cases_of(store)[0].expected is None


def test_other_reviewed_checks_are_added_by_hand_once(susy: Susy, store: Store, database_url: str) -> None:
    check_id = decided(store, 0.7, 1, "authentic", source="posts")
    decided(store, 0.3, 2, "synthetic")
    decided(store, 0.3, 3)
    given = {"SUSY_DATABASE_URL": database_url}
    assert susy("cases", "add", check_id, **given).stdout == "cases added: 1\n"
    assert susy("cases", "add", check_id, **given).stdout == "cases added: 0\n"
    assert susy("cases", "add", "--reviewed", "--source", "posts", "--json", **given).document == {"added": 0}
    assert susy("cases", "add", "--reviewed", "--since", "1h", "--json", **given).document == {"added": 1}
    unreviewed = decided(store, 0.3, 4)
    refused = susy("cases", "add", unreviewed, **given)
    assert refused.code == 1
    assert f"{unreviewed} is not a check with a verdict that a person called authentic or synthetic" in refused.stderr
    assert susy("cases", "add", **given).code == 2
    assert [line["expected"] for line in susy("cases", "list", "--json", **given).documents] == [
        "authentic",
        "synthetic",
    ]


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ("synthetic", "authentic", Change.FIXED),
        ("synthetic", "inconclusive", Change.FIXED),
        ("synthetic", "synthetic", Change.STILL_WRONG),
        ("authentic", "synthetic", Change.REGRESSED),
        ("inconclusive", "synthetic", Change.REGRESSED),
        ("authentic", "inconclusive", Change.TO_A_PERSON),
        ("inconclusive", "authentic", Change.DECIDED),
        ("authentic", "authentic", Change.STILL_RIGHT),
        ("inconclusive", "inconclusive", Change.STILL_INCONCLUSIVE),
        ("authentic", None, Change.UNKNOWN),
    ],
)
def test_a_case_regresses_when_it_becomes_wrong(store: Store, before: str, after: str | None, change: Change) -> None:
    decided(store, 0.3, 1, "authentic")
    [case] = cases_of(store)
    assert Outcome(case, Decision(before), Decision(after) if after else None).change is change


def test_policies_are_compared_image_by_image(store: Store) -> None:
    decided(store, 0.3, 1, "authentic")  # a score of 0.7, called synthetic
    decided(store, 0.85, 2, "synthetic")  # a score of 0.15, called authentic
    assert changes_of(store, STRICT) == {1: Change.FIXED, 2: Change.STILL_WRONG}
    assert changes_of(store, WIDE) == {1: Change.FIXED, 2: Change.FIXED}
    assert changes_of(store, OLD, before=WIDE) == {1: Change.REGRESSED, 2: Change.REGRESSED}
    assert changes_of(store, STRICT, before=WIDE) == {1: Change.DECIDED, 2: Change.REGRESSED}


def forget(run: Sql) -> None:
    """Make cases of contents whose checks and scans are gone."""
    run(
        "INSERT INTO susy.cases (content_sha256, check_id, source, external_id, uri, policy_name, expected, overridden,"
        " added_by) VALUES (repeat('f', 64), gen_random_uuid(), 'posts', 'gone', 'file:///gone.png', 'uploads',"
        " 'authentic', 'synthetic', 'ada') RETURNING 1"
    )


def test_a_case_without_a_scan_is_said(susy: Susy, store: Store, run: Sql, database_url: str) -> None:
    forget(run)
    assert changes_of(store, STRICT) == {int("f" * 64, 16): Change.UNKNOWN}
    store.policies.put(STRICT.version, STRICT.document)
    given = {"SUSY_DATABASE_URL": database_url}
    activated = susy("policy", "activate", STRICT.version, "--reason", "stricter", **given)
    assert activated.code == 0, activated.stderr
    assert "1 of 1 cases of uploads have no scan any more" in " ".join(activated.stderr.split())
    assert "missing" in susy("cases", "list", **given).stdout


def test_a_policy_that_makes_cases_wrong_is_activated_only_when_that_is_said(
    susy: Susy, store: Store, database_url: str
) -> None:
    for number, authentic in enumerate((0.3, 0.35, 0.85)):
        decided(store, authentic, number, "synthetic" if authentic > 0.5 else "authentic", external_id=f"p-{number}")
    given = {"SUSY_DATABASE_URL": database_url}
    for policy in (OLD, STRICT, WIDE):
        store.policies.put(policy.version, policy.document)

    def activate(policy: Policy, *options: str) -> Any:
        return susy("policy", "activate", policy.version, "--reason", "try", *options, **given)

    assert activate(WIDE).code == 0  # no version was active: the cases are compared with the live verdicts
    refused = activate(OLD)
    assert refused.code == 1
    assert "cases_regress" in refused.stderr
    assert f"{OLD.version} would be wrong about 3 of 3 images" in refused.stderr
    assert "--max-regressions 3" in refused.stderr
    assert activate(OLD, "--max-regressions", "2").code == 1
    assert store.policies.revision().revision == 1  # type: ignore[union-attr]
    assert activate(OLD, "--max-regressions", "3").code == 0
    assert activate(WIDE).code == 0
    assert activate(OLD, "--force").code == 0
    assert store.policies.history(1)[0].change == f"activate {OLD.version}, although 3 of its cases regress"


def test_checking_and_backtesting_name_the_images(susy: Susy, store: Store, tmp_path: Path, database_url: str) -> None:
    decided(store, 0.3, 1, "authentic", external_id="portrait")
    given = {"SUSY_DATABASE_URL": database_url}
    (tmp_path / "wide.toml").write_text('name = "uploads"\nsynthetic_at = 0.95\nauthentic_below = 0.05\n')
    document = susy("policy", "backtest", "wide.toml", "--json", **given).document["cases"]
    assert document["changes"] == {"fixed": 1}
    assert document["images"][0]["external_id"] == "portrait"
    assert (document["images"][0]["before"], document["images"][0]["after"]) == ("synthetic", "inconclusive")
    shown = susy("cases", "check", "wide.toml", **given)
    assert shown.code == 0
    assert "cases 1: fixed 1" in shown.stdout
    assert "portrait" in shown.stdout
    assert susy("cases", "check", **given).code == 2


def test_new_weights_scan_the_images_that_can_still_be_read(
    susy: Susy, store: Store, tmp_path: Path, database_url: str
) -> None:
    for name in ("authentic-lake.jpg", "rebuilt-sunset.jpg"):
        content = (SAMPLES / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        (tmp_path / f"changed-{name}").write_bytes(b"another")
        authentic = name.startswith("authentic")
        decided(
            store, 0.3 if authentic else 0.9, content_digest(content), "authentic" if authentic else "synthetic",
            uri=str(tmp_path / name), external_id=name,
        )  # fmt: skip
    decided(store, 0.3, 7, "authentic", uri=str(tmp_path / "gone.jpg"), external_id="gone")
    decided(store, 0.3, 8, "authentic", uri=str(tmp_path / "changed-authentic-lake.jpg"), external_id="changed")
    given = {"SUSY_DATABASE_URL": database_url, "SUSY_IMAGE_ROOTS": str(tmp_path)}
    (tmp_path / "old.toml").write_text('name = "uploads"\nsynthetic_at = 0.5\nauthentic_below = 0.2\n')
    result = susy("cases", "check", "old.toml", "--weights", "demo", "--json", **given)
    assert result.code == 0, result.stderr
    images = {image["external_id"]: image for image in result.document["images"]}
    assert {name: image["change"] for name, image in images.items()} == {
        "authentic-lake.jpg": "fixed",
        "rebuilt-sunset.jpg": "fixed",
        "gone": "unknown",
        "changed": "unknown",
    }
    assert images["changed"]["why"] == "another image is there now"
    assert "gone.jpg" in images["gone"]["why"]


def test_cases_are_exported_as_a_manifest_of_labelled_images(
    susy: Susy, store: Store, run: Sql, tmp_path: Path, database_url: str
) -> None:
    (tmp_path / 'a, "b".png').write_bytes(b"x")
    decided(store, 0.3, 1, "authentic", uri=f"file://{tmp_path}/a,%20%22b%22.png", source="posts")
    forget(run)
    given = {"SUSY_DATABASE_URL": database_url}
    assert susy("cases", "export", "cases.csv", **given).code == 0
    first, second = open_dataset(tmp_path / "cases.csv").entries
    assert (first.label, first.dataset, first.read()) == ("authentic", "posts", b"x")
    assert (second.name, second.picture) == ("/gone.png", "f" * 64)
    assert susy("cases", "export", **given).stdout == (tmp_path / "cases.csv").read_text()


def test_what_was_overridden_before_the_migration_is_a_case(store: Store, database_url: str) -> None:
    decided(store, 0.3, 1, "authentic")
    decided(store, 0.3, 2, "synthetic")
    before = [(case.content_sha256, case.added_by, case.expected) for case in cases_of(store)]
    downgrade(database_url, "0018")
    upgrade(database_url)
    assert [(case.content_sha256, case.added_by, case.expected) for case in cases_of(store)] == before


def test_an_activation_is_refused_when_somebody_else_changes_the_policies_while_cases_are_decided(
    susy: Susy, store: Store, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    decided(store, 0.3, 1, "authentic")
    for policy in (WIDE, STRICT):
        store.policies.put(policy.version, policy.document)
    count = change.count_regressions

    def count_while_another_activates(*arguments: Any, **options: Any) -> int:
        active = PolicyConfiguration(active={WIDE.name: WIDE.version.version}).document
        store.policies.change(1, active, change="activate", changed_by="bob", reason="first")
        return count(*arguments, **options)

    monkeypatch.setattr(change, "count_regressions", count_while_another_activates)
    given = {"SUSY_DATABASE_URL": database_url}
    refused = susy("policy", "activate", STRICT.version, "--reason", "second", **given)
    assert refused.code == 1
    assert "somebody else changed the policies to revision 1" in refused.stderr
    assert store.policies.revision().configuration["active"] == {"uploads": WIDE.version.version}  # type: ignore[union-attr]


def test_dashboards_see_how_the_policy_stands_to_each_case(store: Store, run: Sql) -> None:
    wrong = decided(store, 0.3, 1, "authentic", source="posts")
    right = decided(store, 0.3, 2, "synthetic")
    undecided = decided(store, 0.7, 3, "synthetic")
    withdrawn = decided(store, 0.3, 4, "authentic")
    pruned = decided(store, 0.3, 5, "authentic")
    store.cases.add([right, undecided], by="grace")
    store.add_review(withdrawn, reviewer="grace", decision=Decision.INCONCLUSIVE)
    run("UPDATE susy.cases SET check_id = gen_random_uuid() WHERE check_id = %s", pruned)
    seen = run("SELECT check_id, expected, decision, standing, added_by FROM dashboard.cases ORDER BY content_sha256")
    assert seen[:4] == [
        (wrong, "authentic", "synthetic", "wrong", "ada"),
        (right, "synthetic", "synthetic", "right", "grace"),
        (undecided, "synthetic", "inconclusive", "inconclusive", "grace"),
        (withdrawn, "inconclusive", "synthetic", "withdrawn", "ada"),
    ]
    assert seen[4][1:] == ("authentic", None, "unknown", "ada")
    assert run("SELECT policy, policy_version, overridden FROM dashboard.cases WHERE source = 'posts'") == [
        ("uploads", OLD.version.version, "synthetic")
    ]
