import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from tests.lab.evaluation.rows import random_rows, scored_rows
from worker.lab.evaluation.bootstrap import Bootstrap, Estimate
from worker.lab.evaluation.detection import areas, detection, detection_figures

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


def test_what_scores_the_threshold_itself_is_called_synthetic() -> None:
    rows = scored_rows([0.25, 0.75], [False, True])
    assert values(detection(rows, 0.75, NO_BOOTSTRAP))["recall"] == 1
    assert values(detection(rows, np.nextafter(0.75, 1), NO_BOOTSTRAP))["recall"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_bootstraps_form_of_each_figure_is_scikit_learns(seed: int) -> None:
    rows = random_rows(50, seed)
    called = rows.scores >= 0.6
    matrix = confusion_matrix(rows.synthetic, called).astype(float)[None]
    for name, figure in detection_figures().items():
        assert figure.of_matrices(matrix)[0] == pytest.approx(figure.of_answers(rows.synthetic, called)), name


def test_the_resampled_roc_area_is_scikit_learns_of_the_drawn_pictures() -> None:
    rows = random_rows(60, seed=2, pictures=25)
    rows.scores.round(1, out=rows.scores)  # many ties
    bootstrap = Bootstrap(100, seed=5)
    found = areas(rows, bootstrap)["roc_auc"]
    count = int(rows.pictures.max()) + 1
    expected = [
        roc_auc_score(rows.synthetic, rows.scores, sample_weight=times[rows.pictures])
        for draw in bootstrap.draws(count)
        for times in draw
    ]
    assert found.value == pytest.approx(roc_auc_score(rows.synthetic, rows.scores))
    assert [found.low, found.high] == pytest.approx(np.percentile(expected, [2.5, 97.5]).tolist())


def test_figures_lie_within_their_intervals() -> None:
    for name, found in detection(random_rows(200, pictures=80), 0.5, Bootstrap(200)).items():
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1, name


def test_on_authentic_images_alone_only_false_positives_and_accuracy_mean_something() -> None:
    rows = scored_rows([0.1, 0.2, 0.9], [False] * 3)
    known = {name for name, value in values(detection(rows, 0.5, NO_BOOTSTRAP)).items() if value is not None}
    assert known == {"accuracy", "false_positive_rate", "f1_authentic"}
    assert areas(rows, NO_BOOTSTRAP)["roc_auc"] == Estimate(None)


def test_on_synthetic_images_alone_there_is_no_false_positive_rate() -> None:
    found = values(detection(scored_rows([0.1, 0.9], [True] * 2), 0.5, NO_BOOTSTRAP))
    assert found["recall"] == 0.5
    assert found["false_positive_rate"] is None


def test_no_images_have_no_figures() -> None:
    assert set(values(detection(scored_rows([], []), 0.5, Bootstrap())).values()) == {None}


def test_no_false_positive_among_few_pictures_claims_little() -> None:
    found = detection(scored_rows([0.1] * 10 + [0.9] * 10, [False] * 10 + [True] * 10), 0.5, Bootstrap(100))
    assert found["false_positive_rate"] == Estimate(0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
