"""The stated intervals contain the true rates, and the goals are kept, as often as stated: 400 repetitions each."""

from __future__ import annotations

import numpy as np
import pytest

from tests.lab.thresholds.simulated import Population
from worker.lab.thresholds.choose import choose
from worker.lab.thresholds.goals import Goals
from worker.lab.thresholds.labelled import split_in_half
from worker.lab.thresholds.measure import measure

REPETITIONS = 400


@pytest.mark.parametrize(
    "population",
    [
        Population(300, 0.5),
        Population(600, 0.3),
        Population(2500, 0.1),
        Population(1500, 0.3, avatars=0.6, drawn=0.5),
        Population(3000, 0.1, avatars=0.5, drawn=0.1),
    ],
    ids=str,
)
def test_true_rates_lie_in_their_intervals_and_goals_are_kept(population: Population) -> None:
    generator = np.random.default_rng(7)
    inside, kept = np.zeros(4), np.zeros(2)
    for _ in range(REPETITIONS):
        choice, report = split_in_half(population.draw(generator))
        at, below = (each.threshold for each in choose(choice, Goals(max_fpr=0.08, min_recall=0.7)))
        found = measure(report, at, below, population.prevalence)
        true = (
            (found.false_positive_rate, population.false_positive_rate(at)),
            (found.recall, population.recall(at)),
            (found.not_missed, population.recall(below)),
            (found.precision, population.precision(at)),
        )
        inside += [(of.low or 0) <= value <= (of.high or 0) for of, value in true]
        kept += [population.false_positive_rate(at) <= 0.08, population.recall(below) >= 0.7]
    assert (inside / REPETITIONS >= 0.93).all(), inside / REPETITIONS
    assert (kept / REPETITIONS >= 0.93).all(), kept / REPETITIONS
