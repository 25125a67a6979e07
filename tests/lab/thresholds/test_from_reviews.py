"""Labels from what moderators decided about stored scans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from schema.scan import ModelIdentity
from schema.states import Decision
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.ledger import claimed, examination
from tests.support.scans import CLASSES, scan_of
from worker.errors import SetupError
from worker.lab.thresholds.calibrate import Labels
from worker.lab.thresholds.from_reviews import labels_of_reviews
from worker.policy.decide import decide
from worker.policy.policy import Policy
from worker.store import Store

POLICY = Policy(name="default", synthetic_at=0.9, authentic_below=0.1, minimum_contrast=10)
OTHER_WEIGHTS = ModelIdentity("other", "c" * 64, CLASSES)


def reviewed(
    store: Store,
    authentic: float,
    content: int,
    review: str | None,
    *,
    rate: float | None = None,
    source: str = "avatars",
    model: ModelIdentity | None = None,
    contrast: float = 500.0,
) -> UUID:
    """A check of one tile with this p(authentic), drawn at `rate` for an audit, that a person has decided about."""
    scan = replace(scan_of((authentic,), contrast=contrast), content_sha256=f"{content:064x}")
    if model is not None:
        scan = replace(scan, model=model)
    claim = claimed(store, source=source)
    examined = replace(examination(scan, decide(scan, POLICY, ())), policy=POLICY.document, audit_rate=rate)
    store.record(claim, examined)
    if review is not None:
        store.add_review(claim.check_id, reviewer="ada", decision=Decision(review))
    return claim.check_id


def read(store: Store, **options: object) -> Labels:
    audited = store.reviewed.audited()
    return labels_of_reviews(store.reviewed.scans(batch=2), POLICY, audited, **options)  # type: ignore[arg-type]


def both(labels: Labels) -> list[tuple[float, bool, float]]:
    """Score, whether it is synthetic, and weight, of both halves."""
    return sorted(
        (round(score, 3), kind, round(weight, 3))
        for half in (labels.choice, labels.report)
        for score, kind, weight in zip(
            half.scores.tolist(), half.synthetic.tolist(), half.weights.tolist(), strict=True
        )
    )


def test_drawn_contents_stand_for_as_many_as_were_not_drawn_and_others_are_left_out(store: Store) -> None:
    reviewed(store, 0.75, 1, "authentic", rate=0.1)
    reviewed(store, 0.25, 2, "synthetic", rate=0.5)
    reviewed(store, 0.25, 3, "synthetic")
    reviewed(store, 0.5, 4, "inconclusive", rate=0.5)
    reviewed(store, 0.5, 5, "authentic", rate=0.5, contrast=1.0)
    reviewed(store, 0.5, 6, None, rate=0.5)
    labels = read(store)
    assert both(labels) == [(0.25, False, 10.0), (0.75, True, 2.0)]
    assert labels.representative
    assert labels.facts["left out"] == (
        "1 inconclusive to the reviewer; 1 out of the detector's scope; 1 not drawn for an audit"
    )
    assert "Of 5 checks that were drawn for audits 4 are reviewed" in labels.warnings[0]


def test_a_later_review_counts_and_a_content_counts_once(store: Store) -> None:
    check_id = reviewed(store, 0.75, 1, "synthetic", rate=0.5)
    store.add_review(check_id, reviewer="bob", decision=Decision.AUTHENTIC)
    reviewed(store, 0.75, 1, "authentic", rate=0.25, source="posts")
    reviewed(store, 0.75, 1, "authentic", source="chat")
    reviewed(store, 0.25, 2, "authentic", rate=0.5)
    reviewed(store, 0.25, 2, "synthetic", rate=0.5, source="posts")
    labels = read(store)
    assert both(labels) == [(0.25, False, 2.0)]
    assert labels.facts["left out"] == "1 called both authentic and synthetic, in different checks"


def test_biased_reviews_are_used_only_when_asked_for_and_it_is_said(store: Store) -> None:
    reviewed(store, 0.25, 1, "synthetic")
    reviewed(store, 0.75, 2, "authentic", rate=0.1)
    labels = read(store, biased=True)
    assert both(labels) == [(0.25, False, 1.0), (0.75, True, 1.0)]
    assert not labels.representative
    assert "not those of uploads" in labels.warnings[0]


def test_without_a_drawn_content_it_is_refused_with_the_remedy(store: Store) -> None:
    with pytest.raises(SetupError, match="no reviewed check has a scan here"):
        read(store)
    reviewed(store, 0.25, 1, "synthetic")
    with pytest.raises(
        SetupError, match="of 1 reviewed checks none was drawn for an audit: draw some with `susy policy"
    ):
        read(store)


def test_scores_of_different_weights_are_not_mixed(store: Store) -> None:
    reviewed(store, 0.25, 1, "synthetic", rate=1.0, model=OTHER_WEIGHTS)
    reviewed(store, 0.75, 2, "authentic", rate=1.0)
    latest = read(store)
    assert both(latest) == [(0.25, False, 1.0)]
    assert latest.facts["left out"] == "1 of other weights"
    assert both(read(store, weights="ccc")) == [(0.75, True, 1.0)]
    with pytest.raises(
        SetupError, match="--scans-by d: reviewed checks have scans by other cccccccccccc, susy aaaaaaaaaaaa"
    ):
        read(store, weights="d")


def test_the_command_writes_a_policy_from_audited_reviews(
    susy: Susy, store: Store, tmp_path: Path, run: Sql, database_url: str
) -> None:
    for number in range(16):
        reviewed(store, 0.95, number, "authentic", rate=0.5)
        reviewed(store, 0.1, 100 + number, "synthetic", rate=0.5, source="posts" if number % 2 else "avatars")
    given = {"SUSY_DATABASE_URL": database_url}
    command = ("calibrate", "--from-reviews", "--max-fpr", "0.4", "--since", "1d", "--name", "uploads")
    result = susy(*command, "--json", **given)
    assert result.code == 0, result.stderr
    document = result.document
    assert document["labels"]["choice"] == {"authentic": 8, "synthetic": 8, "stand_for": 32.0}
    assert document["prevalence"]["value"] == 0.5
    assert {each["source"] for each in document["sources"]} == {"avatars", "posts"}
    assert susy("policy", "put", document["files"]["policy"], **given).code == 0
    assert run("SELECT count(*) FROM susy.policies WHERE name = 'uploads'") == [(1,)]
    refused = susy(*command, "--source", "posts", **given)
    assert refused.code == 2
    assert "has no authentic content" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["images", "--from-reviews", "--max-fpr", "0.1"], "leave out DATA"),
        (["--from-reviews", "--max-fpr", "0.1", "--to", "w.safetensors"], "leave out --to"),
        (["images", "--source", "posts", "--max-fpr", "0.1"], "add --from-reviews"),
        (["--max-fpr", "0.1"], "name labelled images, or say --from-reviews"),
    ],
)
def test_options_of_the_other_kind_of_labels_are_refused(susy: Susy, arguments: list[str], words: str) -> None:
    result = susy("calibrate", *arguments, SUSY_DATABASE_URL="postgresql://nowhere/")
    assert result.code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())
