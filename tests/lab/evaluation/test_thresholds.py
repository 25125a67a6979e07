import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from tests.lab.evaluation.rows import random_rows, scored_rows
from worker.lab.evaluation.thresholds import best_threshold, suggest


def test_the_best_threshold_lies_midway_between_the_scores_it_parts() -> None:
    assert best_threshold(scored_rows([0.1, 0.2, 0.6, 0.9], [False, False, True, True])) == pytest.approx(0.4)


def test_of_equally_good_thresholds_the_nearest_to_one_half_is_taken() -> None:
    # Three right of four at 0.2 (between 0.1 and 0.3) and at 0.55 (between 0.5 and 0.6).
    rows = scored_rows([0.1, 0.3, 0.5, 0.6], [False, True, False, True])
    assert best_threshold(rows) == pytest.approx(0.55)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]), st.booleans()), min_size=2, max_size=30))
def test_no_threshold_is_more_accurate(cases: list[tuple[float, bool]]) -> None:
    scores, synthetic = np.array([score for score, _ in cases]), np.array([kind for _, kind in cases])
    found = best_threshold(scored_rows(scores.tolist(), synthetic.tolist()))
    if synthetic.all() or not synthetic.any():
        assert found is None
        return
    assert found is not None
    accuracy = accuracy_score(synthetic, scores >= found)
    for threshold in (*np.unique(scores), 1.1):
        assert accuracy >= accuracy_score(synthetic, scores >= threshold) - 1e-12


def test_a_suggestion_is_the_lowest_threshold_that_keeps_the_rate() -> None:
    scores = [number / 1000 for number in range(200)]
    rows = scored_rows([*scores, 0.9], [False] * 200 + [True])
    found = suggest(rows, 0.01)
    assert found.threshold == pytest.approx(0.1971)
    assert (found.false_positives, found.images, found.pictures) == (2, 200, 200)
    assert (rows.scores[:200] >= found.threshold - 2e-4).sum() > 2


def test_scores_that_tie_are_kept_out_together() -> None:
    rows = scored_rows([0.2] * 150 + [0.7] * 5 + [0.95], [False] * 156)
    found = suggest(rows, 0.01)
    assert found.threshold == pytest.approx(0.7001)
    assert found.false_positives == 1


def test_a_rate_below_one_in_the_number_of_pictures_is_not_claimed() -> None:
    rows = scored_rows([0.1] * 400, [False] * 400, pictures=[number // 4 for number in range(400)])
    assert suggest(rows, 0.01).threshold is not None
    refused = suggest(rows, 0.001)
    assert refused.threshold is None
    assert "at least 1,000 pictures, there are 100" in refused.why


def test_certain_false_positives_leave_no_threshold() -> None:
    rows = scored_rows([1.0] * 5 + [0.1] * 95, [False] * 100)
    refused = suggest(rows, 0.01)
    assert refused.threshold is None
    assert refused.why


def test_synthetic_images_do_not_change_a_suggestion() -> None:
    rows = random_rows(600, seed=4)
    alone = scored_rows(rows.scores[~rows.synthetic].tolist(), [False] * int((~rows.synthetic).sum()))
    assert suggest(rows, 0.01).threshold == suggest(alone, 0.01).threshold
