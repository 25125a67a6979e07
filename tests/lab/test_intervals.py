"""Intervals of shares, against scipy's exact ones and against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.lazily import ImportedWhenUsed
from worker.lab.intervals import Mass, exact_interval, interval, sum_groups, trials_needed, upper_bound

stats = ImportedWhenUsed("scipy.stats")
REPETITIONS = 4000


@pytest.mark.parametrize(("count", "of"), [(0, 1), (1, 1), (0, 10), (3, 50), (50, 50), (499, 1000)])
def test_without_weights_it_is_clopper_and_pearsons(count: int, of: int) -> None:
    expected = stats.binomtest(count, of).proportion_ci(0.95, method="exact")
    assert exact_interval(count, of) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_common_weight_changes_nothing() -> None:
    plain = interval(Mass(3, 3), Mass(47, 47), 1)
    weighted = interval(Mass(30, 300), Mass(470, 4700), 10)
    assert np.allclose(plain, weighted)


def test_nothing_known_is_an_interval_of_everything() -> None:
    assert exact_interval(0, 0) == (0.0, 1.0)


def test_the_number_of_trials_that_a_share_needs_is_the_least() -> None:
    for share in (0.5, 0.1, 0.01, 0.001):
        needed = trials_needed(share)
        assert upper_bound(Mass(0, 0), Mass(needed, needed), 1) <= share
        assert upper_bound(Mass(0, 0), Mass(needed - 1, needed - 1), 1) > share


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
@pytest.mark.parametrize("rates", [(1.0, 0.5), (1.0, 0.05), (0.5, 0.02)])
@pytest.mark.parametrize("differ", [1.0, 4.0])
def test_items_drawn_with_different_probabilities(share: float, rates: tuple[float, float], differ: float) -> None:
    """Two sources of 2,000 items, of which the second is drawn rarely and fails `differ` times as often."""
    generator = np.random.default_rng(1)
    size = 2000
    shares = np.array([share, min(0.9, share * differ)])
    drawn = generator.binomial(size, rates, (REPETITIONS, 2))
    failures = generator.binomial(drawn, shares)
    weights = 1 / np.array(rates)
    part = Mass(failures @ weights, failures @ weights**2)
    rest = Mass((drawn - failures) @ weights, (drawn - failures) @ weights**2)
    low, high = interval(part, rest, weights.max())
    assert ((low <= shares.mean()) & (shares.mean() <= high)).mean() >= 0.94


def test_items_of_a_group_that_err_together_count_once() -> None:
    """60 pictures of five images each: all five fail, or none does."""
    generator = np.random.default_rng(2)
    failures = generator.binomial(60, 0.1, REPETITIONS)
    part, rest = (Mass(5.0 * of, 25.0 * of) for of in (failures, 60 - failures))
    low, high = interval(part, rest, 5)
    assert ((low <= 0.1) & (high >= 0.1)).mean() >= 0.95
    narrow = interval(Mass(5 * failures, 5 * failures), Mass(5 * (60 - failures), 5 * (60 - failures)), 1)
    assert ((narrow[0] <= 0.1) & (narrow[1] >= 0.1)).mean() < 0.8  # as if each image had been a picture


def test_masses_are_summed_by_group() -> None:
    assert sum_groups(np.array([7, 3, 7]), np.array([1.0, 2.0, 4.0])).tolist() == [2.0, 5.0]
    assert sum_groups(np.array([]), np.array([])).tolist() == []
