"""Decisions: from tiles to an outcome, with its reasons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.states import Decision, Reason
from schema.verdict import UNKNOWN_GENERATOR, Region
from tests.support.scans import CLASSES, scan_of
from worker.policy.decide import aggregate, decide, evidence, wants_map
from worker.policy.policy import Aggregation, Localize, Policy, Rule

DISTRIBUTIONS = st.lists(
    st.lists(st.floats(0.001, 1), min_size=3, max_size=3).map(lambda p: [x / sum(p) for x in p]), min_size=1, max_size=7
).map(np.array)


def policy(**changes: object) -> Policy:
    return Policy.model_validate({"name": "test", "synthetic_at": 0.9, "authentic_below": 0.1, **changes})


@pytest.mark.parametrize(
    ("authentic", "decision", "reason"),
    [
        (0.02, Decision.SYNTHETIC, Reason.ABOVE_SYNTHETIC_AT),
        (0.5, Decision.INCONCLUSIVE, Reason.BETWEEN_THRESHOLDS),
        (0.98, Decision.AUTHENTIC, Reason.BELOW_AUTHENTIC_BELOW),
    ],
)
def test_the_score_decides_between_three_outcomes(authentic: float, decision: Decision, reason: Reason) -> None:
    verdict = decide(scan_of([authentic] * 3), policy(), ())
    assert (verdict.decision, verdict.reasons) == (decision, (reason,))
    assert verdict.score == pytest.approx(1 - authentic, abs=5e-4)
    assert verdict.needs_review is (decision is not Decision.AUTHENTIC)


def test_an_image_smaller_than_a_tile_is_never_authentic() -> None:
    verdict = decide(scan_of([], width=223, height=900), policy(synthetic_at=1, authentic_below=1), ())
    assert verdict.decision is Decision.INCONCLUSIVE
    assert verdict.reasons == (Reason.TOO_SMALL,)
    assert verdict.score is None
    assert not verdict.class_scores


def test_fewer_tiles_than_the_policy_asks_for_decide_nothing() -> None:
    verdict = decide(scan_of([0.99, 0.99, 0.99]), policy(minimum_tiles=4), ())
    assert verdict.reasons == (Reason.TOO_FEW_TILES,)
    assert verdict.decision is Decision.INCONCLUSIVE


@pytest.mark.parametrize("authentic", [0.01, 0.99])
def test_an_image_without_contrast_is_out_of_scope(authentic: float) -> None:
    verdict = decide(scan_of([authentic] * 3, contrast=9), policy(), ())
    assert verdict.reasons == (Reason.LOW_CONTRAST,)
    assert verdict.decision is Decision.INCONCLUSIVE


def test_only_selected_tiles_make_the_score_but_a_bad_region_elsewhere_forbids_authentic() -> None:
    scan = scan_of([0.99, 0.99, 0.01], selected=[True, True, False])
    region = Region(448, 0, 224, 224, 0.99)
    verdict = decide(scan, policy(), (region,))
    assert verdict.score == pytest.approx(0.01, abs=1e-3)
    assert verdict.decision is Decision.INCONCLUSIVE
    assert verdict.reasons == (Reason.SYNTHETIC_REGION,)
    assert verdict.regions == (region,)


def test_demo_weights_are_named_in_every_verdict_and_always_reviewed() -> None:
    for authentic in (0.01, 0.5, 0.99):
        verdict = decide(scan_of([authentic] * 3, is_demo=True), policy(review=[]), ())
        assert Reason.DEMO_WEIGHTS in verdict.reasons
        assert verdict.needs_review


@pytest.mark.parametrize("authentic", [0.0, 0.5])
def test_a_generator_is_named_only_when_it_leads_clearly(authentic: float) -> None:
    scan = scan_of([authentic] * 3)
    named, unknown = decide(scan, policy(), ()), decide(scan, policy(generator_share=0.8), ())
    assert (named.generator, unknown.generator) == ("alpha", UNKNOWN_GENERATOR)
    assert named.generator_confidence == unknown.generator_confidence == pytest.approx(0.75, abs=1e-3)


def test_an_image_that_is_authentic_or_was_not_scored_has_no_generator() -> None:
    for scan in (scan_of([0.99] * 3), scan_of([], width=223, height=900)):
        verdict = decide(scan, policy(generator_share=0.8), ())
        assert verdict.generator is None
        assert verdict.generator_confidence is None


def test_an_undecided_image_without_any_synthetic_probability_has_no_generator() -> None:
    verdict = decide(scan_of([1.0] * 3, contrast=0), policy(), ())
    assert verdict.decision is Decision.INCONCLUSIVE
    assert verdict.generator is None
    assert verdict.generator_confidence is None


@given(DISTRIBUTIONS, st.sampled_from([Aggregation.MEAN, Aggregation.MEDIAN, Aggregation.MAX]))
def test_every_aggregation_is_a_distribution_that_does_not_depend_on_the_order(
    tiles: np.ndarray, how: Aggregation
) -> None:
    once = aggregate(tiles, how)
    assert once.sum() == pytest.approx(1)
    assert 1 - once[0] == pytest.approx(
        {Aggregation.MEAN: np.mean, Aggregation.MEDIAN: np.median, Aggregation.MAX: np.max}[how](1 - tiles[:, 0])
    )
    assert 1 - aggregate(tiles[::-1], how)[0] == pytest.approx(1 - once[0])


@given(DISTRIBUTIONS)
def test_at_one_half_the_rules_are_the_two_detectors_of_the_model_card(tiles: np.ndarray) -> None:
    distribution = tiles[0]
    assert (evidence(distribution, Rule.SUM) > 0.5) == (distribution[1:].sum() > distribution[0])
    assert (evidence(distribution, Rule.ARGMAX) > 0.5) == (distribution[1:].max() > distribution[0])


@pytest.mark.parametrize(
    ("localize", "authentic", "wanted"),
    [
        (Localize.NEVER, 0.0, False),
        (Localize.ALWAYS, 1.0, True),
        (Localize.SUSPICIOUS, 0.98, False),
        (Localize.SUSPICIOUS, 0.85, True),
    ],
)
def test_the_map_is_completed_when_the_policy_says_so(localize: Localize, authentic: float, wanted: bool) -> None:
    assert wants_map(scan_of([authentic, authentic, None]), policy(localize=localize)) is wanted


def test_one_suspicious_tile_completes_the_map_even_if_the_aggregate_hides_it() -> None:
    scan = scan_of([0.99, 0.99, 0.99, 0.02, None], width=1120)
    assert wants_map(scan, policy(aggregate="median"))


def test_a_complete_map_is_not_wanted_again() -> None:
    assert not wants_map(scan_of([0.1, 0.1, 0.1]), policy(localize="always"))


def test_class_scores_carry_the_names_of_the_weights() -> None:
    verdict = decide(scan_of([0.5] * 3), policy(), ())
    assert tuple(verdict.class_scores) == CLASSES
    assert sum(verdict.class_scores.values()) == pytest.approx(1, abs=1e-3)
