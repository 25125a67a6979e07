"""Rules: each decides by its number and its threshold, in a fixed order, and what was not measured decides nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.scan import Signals
from schema.states import Decision, Reason
from schema.verdict import Region
from tests.support.scans import CLASSES, scan_of
from worker.policy.aggregation import aggregate
from worker.policy.decide import decide, may_have_region, out_of_scope, wants_map
from worker.policy.explain import explain, sentences
from worker.policy.policy import Aggregation, Policy
from worker.policy.rules import Case, findings

SIGNALS = Signals(animated=False, jpeg_quality=90, resampling=1.0, palette_share=0.0)
BAD: list[tuple[str, object, Signals, Reason]] = [
    ("heavily_recompressed", 30, replace(SIGNALS, jpeg_quality=29), Reason.HEAVILY_RECOMPRESSED),
    ("likely_resized", 10, replace(SIGNALS, resampling=10.0), Reason.LIKELY_RESIZED),
    ("likely_illustration", 0.5, replace(SIGNALS, palette_share=0.5), Reason.LIKELY_ILLUSTRATION),
    ("animated_first_frame_only", True, replace(SIGNALS, animated=True), Reason.ANIMATED_FIRST_FRAME_ONLY),
]


def policy(**changes: object) -> Policy:
    return Policy.model_validate({"name": "test", "synthetic_at": 0.9, "authentic_below": 0.1, **changes})


def reason(scan: Any, used: Policy, regions: tuple[Region, ...] = ()) -> Reason:
    return decide(scan, used, regions).reasons[0]


@pytest.mark.parametrize(("key", "threshold", "signals", "expected"), BAD, ids=[bad[0] for bad in BAD])
def test_a_signal_forbids_authentic_only_where_its_key_is_set(
    key: str, threshold: object, signals: Signals, expected: Reason
) -> None:
    on, off = policy(out_of_scope={key: threshold}), policy(out_of_scope={key: False})
    authentic = replace(scan_of([0.99] * 3), signals=signals)
    assert decide(authentic, on, ()).decision is Decision.INCONCLUSIVE
    assert reason(authentic, on) is expected
    assert reason(authentic, off) is reason(authentic, policy()) is Reason.BELOW_AUTHENTIC_BELOW
    for harmless in (SIGNALS, None):
        assert reason(replace(authentic, signals=harmless), on) is Reason.BELOW_AUTHENTIC_BELOW
    assert off.version == policy().version != on.version


def test_a_first_frame_that_looks_synthetic_is_synthetic_and_other_signals_say_nothing() -> None:
    animated, *_ = [bad for bad in BAD if bad[0] == "animated_first_frame_only"]
    synthetic = replace(scan_of([0.01] * 3), signals=animated[2])
    assert decide(synthetic, policy(out_of_scope={animated[0]: True}), ()).decision is Decision.SYNTHETIC
    for key, threshold, signals, expected in BAD[:3]:
        scan = replace(scan_of([0.01] * 3), signals=signals)
        assert reason(scan, policy(out_of_scope={key: threshold})) is expected
        assert out_of_scope(scan, policy(out_of_scope={key: threshold})) is expected
        assert not wants_map(scan_of([0.01, None], selected=[True, False]), policy(localize="never"))


def test_what_is_not_a_jpeg_is_not_asked_for_its_quality() -> None:
    used = policy(out_of_scope={"heavily_recompressed": 30})
    for signals, asked in ((SIGNALS, True), (None, True), (replace(SIGNALS, jpeg_quality=None), False)):
        found = findings(Case(replace(scan_of([0.99] * 3), signals=signals), used), ())
        assert (Reason.HEAVILY_RECOMPRESSED in [finding.reason for finding in found]) is asked


def test_tiles_that_disagree_are_not_averaged_away_and_keep_their_map() -> None:
    scan = scan_of([0.95, 0.95, 0.95, 0.95, 0.05, None])
    used = policy(authentic_below=0.3, region_at=1, out_of_scope={"tiles_disagree": 0.9})
    assert reason(scan, policy(authentic_below=0.3, region_at=1)) is Reason.BELOW_AUTHENTIC_BELOW
    assert reason(scan, used) is Reason.TILES_DISAGREE
    assert out_of_scope(scan, used) is None
    assert reason(scan_of([0.95] * 5), used) is Reason.BELOW_AUTHENTIC_BELOW


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.permutations(range(9)))
def test_trimmed_mean_and_top_fraction_are_means_of_the_sorted_scores(scores: list[float], order: list[int]) -> None:
    tiles = np.array([[1 - score, score / 2, score / 2] for score in scores])
    shuffled = tiles[[place for place in order if place < len(tiles)]]
    ascending = sorted(scores)
    cut, top = len(scores) // 5, -(-2 * len(scores) // 5)
    trimmed = aggregate(shuffled, Aggregation.TRIMMED_MEAN)
    assert 1 - trimmed[0] == pytest.approx(np.mean(ascending[cut : len(scores) - cut]))
    assert 1 - aggregate(shuffled, Aggregation.TOP_FRACTION)[0] == pytest.approx(np.mean(ascending[-top:]))
    assert aggregate(tiles, Aggregation.TOP_FRACTION, top_fraction=1) == pytest.approx(tiles.mean(axis=0))
    assert aggregate(tiles, Aggregation.TRIMMED_MEAN, trim_fraction=0) == pytest.approx(tiles.mean(axis=0))
    assert trimmed.sum() == pytest.approx(1)


def test_a_generator_has_thresholds_of_its_own() -> None:
    """`scan_of` attributes three quarters of the synthetic probability to `alpha`."""
    own = {"alpha": {"synthetic_at": 0.5, "authentic_below": 0.4}}
    strict = policy(generators=own)
    assert [reason(scan_of([p] * 3), strict) for p in (0.45, 0.55, 0.65)] == [
        Reason.ABOVE_SYNTHETIC_AT, Reason.BETWEEN_THRESHOLDS, Reason.BELOW_AUTHENTIC_BELOW,
    ]  # fmt: skip
    assert reason(scan_of([0.45] * 3), policy(generators={"beta": {"synthetic_at": 0.5}})) is Reason.BETWEEN_THRESHOLDS
    # With a larger share asked for, no generator is named.
    unnamed = policy(generator_share=0.8, generators={"unknown_generator": {"synthetic_at": 0.5}})
    assert reason(scan_of([0.45] * 3), unnamed) is Reason.ABOVE_SYNTHETIC_AT
    # The map is asked for, and may decide, by the thresholds that decide.
    scan = scan_of([0.65] * 2 + [None], selected=[True, True, False])
    assert wants_map(scan, policy(region_at=1))
    assert not wants_map(scan, policy(region_at=1, generators=own))
    assert may_have_region(scan_of([0.65, 0.65, 0.01]), policy(generators={"alpha": {"authentic_below": 0.9}}))


def test_the_rule_about_regions_has_parameters() -> None:
    scan = scan_of([0.99, 0.99, 0.01, 0.99], selected=[True, True, False, True])
    quarter = (Region(448, 0, 224, 224, 0.99),)
    assert reason(scan, policy(region_minimum_area=0.25), quarter) is Reason.SYNTHETIC_REGION
    assert reason(scan, policy(region_minimum_area=0.26), quarter) is Reason.BELOW_AUTHENTIC_BELOW
    ignoring = policy(region_decides=False)
    assert reason(scan, ignoring, quarter) is Reason.BELOW_AUTHENTIC_BELOW
    assert not may_have_region(scan, ignoring)
    assert may_have_region(scan, policy())
    assert decide(scan, ignoring, quarter).regions == quarter


SCANS = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=5)
POLICIES = st.builds(
    lambda **keys: Policy.model_validate({"name": "a", "synthetic_at": 0.8, "authentic_below": 0.2, **keys}),
    aggregate=st.sampled_from(Aggregation),
    minimum_tiles=st.integers(1, 5),
    minimum_contrast=st.sampled_from([0, 600]),
    region_decides=st.booleans(),
    generators=st.sampled_from([{}, {"alpha": {"synthetic_at": 0.5}}]),
    out_of_scope=st.fixed_dictionaries(
        {},
        optional={
            "heavily_recompressed": st.integers(1, 100),
            "likely_resized": st.floats(0.1, 20),
            "likely_illustration": st.floats(0.01, 1),
            "tiles_disagree": st.floats(0.01, 1),
            "animated_first_frame_only": st.booleans(),
        },
    ),
)
MEASURED = st.one_of(
    st.none(),
    st.builds(
        Signals,
        animated=st.booleans(),
        jpeg_quality=st.one_of(st.none(), st.integers(1, 100)),
        resampling=st.one_of(st.none(), st.floats(0, 20)),
        palette_share=st.one_of(st.none(), st.floats(0, 1)),
    ),
)


@given(SCANS, MEASURED, POLICIES, st.booleans())
def test_a_decision_is_the_first_rule_that_holds_and_never_authentic_out_of_scope(
    tiles: list[float | None], signals: Signals | None, used: Policy, with_region: bool
) -> None:
    scan = replace(scan_of(tiles), signals=signals)
    regions = (Region(0, 0, 224, 224, 0.95),) if with_region else ()
    verdict = decide(scan, used, regions)
    found = list(findings(Case(scan, used), regions))
    first = next(finding for finding in found if finding.holds)
    assert (verdict.decision, verdict.reasons) == (first.decision, (first.reason,))
    held = [finding for finding in found if finding.holds and finding.decision is Decision.INCONCLUSIVE]
    assert verdict.decision is not Decision.AUTHENTIC or not held
    explained = explain(scan, used, regions)
    assert (explained["decision"], explained["decided_by"]) == (verdict.decision, verdict.reasons[0])
    assert [rule["rule"] for rule in explained["rules"] if rule["decides"]] == [verdict.reasons[0]]
    said = sentences(explained, used)
    assert said[-1] == f"Hence {used.version} decides {verdict.decision}, with the reason {verdict.reasons[0]}."
    assert all(line.endswith(".") and "None" not in line for line in said)
    assert Policy.model_validate(used.document) == used


def test_an_explanation_reads_as_sentences() -> None:
    used = policy(out_of_scope={"tiles_disagree": 0.8, "likely_resized": 12}, generators={"alpha": {"synthetic_at": 1}})
    scan = scan_of([0.4, 0.5, 0.6], contrast=250)
    assert sentences(explain(scan, used, ()), used) == [
        "The score is 0.500: the mean of 3 tiles (0.600, 0.500, 0.400), for any generator.",
        "too_small: the number of scored tiles is 3, not below 1.",
        "low_contrast: the highest contrast of a tile is 250, not below 10.",
        "likely_resized: the strongest period of interpolation was not measured, so this decides nothing.",
        "tiles_disagree: the difference between the highest and the lowest tile is 0.2002, less than 0.8.",
        "above_synthetic_at: the score, by the thresholds for alpha, is 0.5, less than 1.",
        "between_thresholds: the score, by the thresholds for alpha, is 0.5, at least 0.1.",
        f"Hence {used.version} decides inconclusive, with the reason between_thresholds.",
    ]
    assert CLASSES[1] == "alpha"
