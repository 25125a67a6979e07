"""Thresholds by their goals, against a count by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.lab.thresholds.simulated import Population
from worker.errors import SetupError
from worker.lab.intervals import exact_interval, trials_needed
from worker.lab.thresholds.choose import TooFewLabelsError, choose, combine, needed
from worker.lab.thresholds.goals import Goals
from worker.lab.thresholds.labelled import Labelled, number_groups, split_in_half
from worker.lab.thresholds.measure import measure
from worker.lab.thresholds.tail import tail_of


def made(
    scores: Sequence[float],
    synthetic: Sequence[bool],
    weights: Sequence[float] | None = None,
    groups: Sequence[int] | None = None,
) -> Labelled:
    count = len(scores)
    return Labelled(
        np.array(scores, float),
        np.array(synthetic, bool),
        np.ones(count) if weights is None else np.array(weights, float),
        np.arange(count) if groups is None else np.array(groups),
        np.array(["posts"] * count),
    )


def authentic(*scores: float) -> Labelled:
    return made(scores, [False] * len(scores))


def test_the_threshold_of_a_false_positive_rate_is_the_lowest_whose_bound_reaches_it() -> None:
    scores = [number / 1000 for number in range(300)]  # 0 … 0.299
    [chosen] = choose(authentic(*scores), Goals(max_fpr=0.05))
    above = sum(score >= chosen.threshold for score in scores)
    assert exact_interval(above, 300, 0.90)[1] <= 0.05  # a two-sided 90 % interval has the one-sided 95 % bounds
    assert exact_interval(above + 1, 300, 0.90)[1] > 0.05
    assert chosen.threshold == pytest.approx(scores[-above - 1] + 1e-4)
    assert chosen.key == "synthetic_at"


def test_the_threshold_of_a_recall_is_the_highest_whose_bound_reaches_it() -> None:
    scores = [0.5 + number / 1000 for number in range(100)]
    [chosen] = choose(made(scores, [True] * 100), Goals(min_recall=0.9))
    missed = sum(score < chosen.threshold for score in scores)
    assert exact_interval(missed, 100, 0.90)[1] <= 0.1
    assert exact_interval(missed + 1, 100, 0.90)[1] > 0.1
    assert chosen.key == "authentic_below"


def test_the_threshold_of_a_precision_reaches_it_at_the_stated_prevalence() -> None:
    items = Population(8000, 0.5).draw(np.random.default_rng(0))
    [chosen] = choose(items, Goals(precision=0.8, prevalence=0.05))
    population = Population(1, 0.05)
    assert population.precision(chosen.threshold) >= 0.8
    [looser] = choose(items, Goals(precision=0.5, prevalence=0.05))
    assert looser.threshold < chosen.threshold


@pytest.mark.parametrize("rate", [0.3, 0.05, 0.01])
def test_with_one_label_less_than_needed_the_number_is_said(rate: float) -> None:
    enough = trials_needed(rate)
    assert choose(authentic(*[0.1] * enough), Goals(max_fpr=rate))[0].threshold == pytest.approx(0.1001)
    with pytest.raises(TooFewLabelsError, match=rf"at least {enough:,} authentic .* has {enough - 1:,}; label 2 more"):
        choose(authentic(*[0.1] * (enough - 1)), Goals(max_fpr=rate))


def test_a_heavy_label_needs_more_labels() -> None:
    items = made([0.1] * 100, [False] * 100, weights=[1.0] * 99 + [50.0])
    assert needed(tail_of(items), 0.05) > 2 * trials_needed(0.05)
    with pytest.raises(TooFewLabelsError):
        choose(items, Goals(max_fpr=0.05))


def test_a_precision_says_how_many_labels_it_needs() -> None:
    items = made([0.1] * 100 + [0.9] * 100, [False] * 100 + [True] * 100)
    with pytest.raises(TooFewLabelsError, match="authentic contents and has 100") as caught:
        choose(items, Goals(precision=0.95, prevalence=0.02))
    count = int(caught.value.message.split("at least ")[2].split(" ")[0].replace(",", ""))
    more = made([0.1] * count + [0.9] * 100, [False] * count + [True] * 100)
    assert choose(more, Goals(precision=0.95, prevalence=0.02))[0].threshold < 0.9


def test_scores_that_cannot_reach_a_goal_are_not_blamed_on_the_number_of_labels() -> None:
    with pytest.raises(SetupError, match=r"no threshold reaches .* score 1; more labels may not help"):
        choose(authentic(*[1.0] * 1000), Goals(max_fpr=0.01))
    with pytest.raises(SetupError, match="score as high as synthetic ones"):
        choose(made([0.5] * 4000, [True, False] * 2000), Goals(precision=0.9, prevalence=0.5))


def test_one_threshold_that_reaches_all_goals_leaves_nothing_inconclusive() -> None:
    items = made([0.1] * 400 + [0.9] * 400, [False] * 400 + [True] * 400)
    chosen = choose(items, Goals(max_fpr=0.02, min_recall=0.98))
    assert combine(chosen, 0.9, 0.1) == (pytest.approx(0.1001), pytest.approx(0.1001))
    assert combine(chosen[:1], 0.9, 0.05) == (pytest.approx(0.1001), 0.05)
    assert combine(chosen[1:], 0.95, 0.05) == (0.95, pytest.approx(0.9))
    assert combine(chosen[1:], 0.5, 0.05) == (pytest.approx(0.9), pytest.approx(0.9))


def test_contents_of_one_picture_are_in_one_half_and_the_halves_are_always_the_same() -> None:
    groups = number_groups([f"picture-{number // 3}" for number in range(300)])
    items = made(np.linspace(0, 1, 300).tolist(), [number % 2 == 0 for number in range(300)], groups=groups.tolist())
    first, second = split_in_half(items)
    assert not set(first.groups.tolist()) & set(second.groups.tolist())
    assert len(first) + len(second) == 300
    assert abs(len(first) - len(second)) <= 6
    order = np.random.default_rng(0).permutation(300)
    shuffled, _ = split_in_half(items.where(order))  # type: ignore[arg-type]
    assert sorted(shuffled.scores.tolist()) == first.scores.tolist()


def test_masses_above_and_below_are_those_of_a_count_by_hand() -> None:
    items = made([0.1, 0.2, 0.3, 0.3], [False] * 4, weights=[1, 2, 3, 4], groups=[0, 1, 0, 1])
    tail = tail_of(items, np.array([0.0, 0.2, 0.3, 0.31]))
    assert np.asarray(tail.above.total).tolist() == [10, 9, 7, 0]
    assert np.asarray(tail.above.squares).tolist() == [4**2 + 6**2, 3**2 + 6**2, 3**2 + 4**2, 0]
    assert np.asarray(tail.below.squares).tolist() == [0, 1, 1 + 2**2, 4**2 + 6**2]
    assert tail.above_count.tolist() == [4, 3, 2, 0]
    assert tail.heaviest == 6


def test_rates_of_no_labels_have_no_value() -> None:
    found = measure(authentic(0.1, 0.9), 0.5, 0.2, 0.1)
    assert (found.false_positive_rate.value, found.false_positive_rate.of) == (0.5, 2)
    assert found.recall.value is None
    assert found.precision.value is None


@pytest.mark.parametrize(
    ("goals", "words"),
    [
        (Goals(), "say what the thresholds are for"),
        (Goals(max_fpr=0), "--max-fpr 0: it is a share above 0 and below 1"),
        (Goals(min_recall=1.5), r"--min-recall 1.5: it is a share"),
        (Goals(precision=0.9, prevalence=-0.1), "--prevalence -0.1"),
        (Goals(max_fpr=float("nan")), "--max-fpr nan"),
        (Goals(precision=0.1, prevalence=0.2), "is not above --prevalence"),
    ],
)
def test_a_goal_outside_its_range_is_refused(goals: Goals, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        goals.require_complete()
