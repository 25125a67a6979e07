import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.evaluation.rows import made_rows, random_rows, scored_rows
from tests.support.lazily import ImportedWhenUsed
from worker.lab.evaluation.bootstrap import Bootstrap, Estimate
from worker.lab.evaluation.detection import (
    areas,
    best_threshold,
    detection,
    detection_figures,
    recalls_by_dataset,
    suggest,
)

sklearn_metrics = ImportedWhenUsed("sklearn.metrics")

NO_BOOTSTRAP = Bootstrap(0)


def values(figures: dict[str, Estimate]) -> dict[str, float | None]:
    return {name: figure.value for name, figure in figures.items()}


def test_the_figures_of_a_hand_computed_case() -> None:
    # Synthetic: 3 called, 1 missed. Authentic: 2 called synthetic, 4 not.
    rows = scored_rows([0.9, 0.8, 0.5, 0.4, 0.7, 0.5, 0.1, 0.2, 0.3, 0.49], [True] * 4 + [False] * 6)
    found = values(detection(rows, 0.5, NO_BOOTSTRAP))
    f1, f1_authentic = 2 * 3 / (2 * 3 + 2 + 1), 2 * 4 / (2 * 4 + 1 + 2)
    assert found == pytest.approx(
        {
            "f1": f1,
            "f1_authentic": f1_authentic,
            "f1_macro": (f1 + f1_authentic) / 2,
            "accuracy": 0.7,
            "balanced_accuracy": (3 / 4 + 4 / 6) / 2,
            "precision": 3 / 5,
            "recall": 3 / 4,
            "false_positive_rate": 2 / 6,
        }
    )


def test_a_score_equal_to_the_threshold_is_synthetic() -> None:
    rows = scored_rows([0.25, 0.75], [False, True])
    assert values(detection(rows, 0.75, NO_BOOTSTRAP))["recall"] == 1
    assert values(detection(rows, np.nextafter(0.75, 1), NO_BOOTSTRAP))["recall"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_bootstraps_form_of_each_figure_is_scikit_learns(seed: int) -> None:
    rows = random_rows(50, seed)
    called = rows.scores >= 0.6
    matrix = sklearn_metrics.confusion_matrix(rows.synthetic, called).astype(float)[None]
    for name, figure in detection_figures().items():
        assert figure.of_matrices(matrix)[0] == pytest.approx(figure.of_predictions(rows.synthetic, called)), name


def test_the_resampled_roc_area_is_scikit_learns_of_the_drawn_pictures() -> None:
    rows = random_rows(60, seed=2, pictures=25)
    rows.scores.round(1, out=rows.scores)  # many ties
    bootstrap = Bootstrap(100, seed=5)
    found = areas(rows, bootstrap)["roc_auc"]
    count = int(rows.pictures.max()) + 1
    expected = [
        sklearn_metrics.roc_auc_score(rows.synthetic, rows.scores, sample_weight=times[rows.pictures])
        for draw in bootstrap.draws(count)
        for times in draw
    ]
    assert found.value == pytest.approx(sklearn_metrics.roc_auc_score(rows.synthetic, rows.scores))
    assert [found.low, found.high] == pytest.approx(np.percentile(expected, [2.5, 97.5]).tolist())


def test_figures_lie_within_their_intervals() -> None:
    for name, found in detection(random_rows(200, pictures=80), 0.5, Bootstrap(200)).items():
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1, name


def test_authentic_images_only_have_false_positives_and_an_accuracy() -> None:
    rows = scored_rows([0.1, 0.2, 0.9], [False] * 3)
    known = {name for name, value in values(detection(rows, 0.5, NO_BOOTSTRAP)).items() if value is not None}
    assert known == {"accuracy", "false_positive_rate", "f1_authentic"}
    assert areas(rows, NO_BOOTSTRAP)["roc_auc"] == Estimate(None)


def test_synthetic_images_only_have_no_false_positive_rate() -> None:
    found = values(detection(scored_rows([0.1, 0.9], [True] * 2), 0.5, NO_BOOTSTRAP))
    assert found["recall"] == 0.5
    assert found["false_positive_rate"] is None


def test_no_images_have_no_figures() -> None:
    assert set(values(detection(scored_rows([], []), 0.5, Bootstrap())).values()) == {None}


def test_no_false_positive_among_few_pictures_has_a_wide_interval() -> None:
    found = detection(scored_rows([0.1] * 10 + [0.9] * 10, [False] * 10 + [True] * 10), 0.5, Bootstrap(100))
    assert found["false_positive_rate"] == Estimate(0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 10)))


def scored(*scores: float) -> list[list[float]]:
    return [[1 - score, score, 0] for score in scores]


ORIGINS = made_rows(
    scored(0.1, 0.6, 0.2, 0.3, 0.9, 0.4, 0.8),
    ["authentic", "authentic", "authentic", "authentic", "green", "green", "blue"],
    datasets=["phones", "phones", "web", "web", "web", "web", "art"],
)


def test_each_data_set_has_its_recall_and_authentic_ones_come_first() -> None:
    found = recalls_by_dataset(ORIGINS, 0.5, 0.35, Bootstrap(0))
    assert [(of.dataset, of.label, of.synthetic, of.count) for of in found] == [
        ("phones", "authentic", False, 2),
        ("web", "authentic", False, 2),
        ("art", "blue", True, 1),
        ("web", "green", True, 2),
    ]
    assert [of.at_half.value for of in found] == [0.5, 1, 1, 0.5]
    assert [of.at_best.value for of in found if of.at_best] == [0.5, 1, 1, 1]


def test_a_data_set_is_authentic_only_when_nothing_synthetic_is_in_it() -> None:
    found = recalls_by_dataset(ORIGINS, 0.5, None, Bootstrap(0))
    assert [of.dataset for of in found if of.authentic_only] == ["phones"]
    assert found[0].false_positive_rate.value == 0.5
    assert found[0].at_best is None


def test_the_interval_of_a_data_set_depends_on_its_own_pictures() -> None:
    rows = made_rows(
        scored(*[0.1] * 40, *[0.1, 0.9] * 30),
        ["authentic"] * 40 + ["green"] * 60,
        pictures=[number // 4 for number in range(40)] + list(range(10, 70)),
    )
    authentic, green = recalls_by_dataset(rows, 0.5, None, Bootstrap(300))
    assert (authentic.count, authentic.pictures) == (40, 10)
    assert authentic.at_half == Estimate(1.0, pytest.approx(0.025 ** (1 / 10)), 1.0)
    assert green.at_half.low is not None
    assert 0.3 < green.at_half.low < 0.45


def test_the_best_threshold_is_midway_between_the_scores_it_separates() -> None:
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
    accuracy = sklearn_metrics.accuracy_score(synthetic, scores >= found)
    for threshold in (*np.unique(scores), 1.1):
        assert accuracy >= sklearn_metrics.accuracy_score(synthetic, scores >= threshold) - 1e-12


def test_a_suggestion_is_the_lowest_threshold_that_keeps_the_rate() -> None:
    scores = [number / 1000 for number in range(200)]
    rows = scored_rows([*scores, 0.9], [False] * 200 + [True])
    found = suggest(rows, 0.01)
    assert found.threshold == pytest.approx(0.1971)
    assert (found.false_positives, found.images, found.pictures) == (2, 200, 200)
    assert (rows.scores[:200] >= found.threshold - 2e-4).sum() > 2


def test_equal_scores_are_excluded_together() -> None:
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
