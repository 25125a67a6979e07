import numpy as np
import pytest

from tests.lab.evaluation.rows import CLASSES, made_rows, random_rows
from tests.support.lazily import ImportedWhenUsed
from worker.lab.evaluation.bootstrap import (
    Bootstrap,
    Estimate,
    accuracies,
    f1s,
    macro_f1s,
    precisions,
    recalls,
)
from worker.lab.evaluation.recognition import confusion, recognition

sklearn_metrics = ImportedWhenUsed("sklearn.metrics")

A, G, B = np.eye(3).tolist()


def test_the_figures_of_a_hand_computed_case() -> None:
    # authentic: 2 right, 1 as green. green: 1 right, 1 as authentic. Nothing is blue; one other generator.
    rows = made_rows(
        [A, A, G, G, A, B],
        ["authentic", "authentic", "authentic", "green", "green", "firefly"],
    )
    found = recognition(rows, CLASSES, Bootstrap(0))
    assert found is not None
    assert (found.count, found.absent) == (5, ("blue",))
    authentic, green = found.classes
    assert (authentic.name, authentic.count, green.name, green.count) == ("authentic", 3, "green", 2)
    assert authentic.f1.value == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert (green.recall.value, green.precision.value) == pytest.approx((1 / 2, 1 / 2))
    assert found.f1_macro.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.accuracy.value == pytest.approx(3 / 5)


def test_predicting_a_class_that_is_not_in_the_data_is_an_error() -> None:
    found = recognition(made_rows([B, A], ["green", "authentic"]), CLASSES, Bootstrap(0))
    assert found is not None
    assert found.accuracy.value == 0.5
    assert found.f1_macro.value == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_the_bootstraps_form_of_each_figure_is_scikit_learns(seed: int) -> None:
    rows = random_rows(40, seed)
    labels, predicted = rows.index, rows.predicted
    matrix = sklearn_metrics.confusion_matrix(labels, predicted, labels=[0, 1, 2]).astype(float)
    assert recalls(matrix) == pytest.approx(sklearn_metrics.recall_score(labels, predicted, average=None))
    assert precisions(matrix) == pytest.approx(sklearn_metrics.precision_score(labels, predicted, average=None))
    assert f1s(matrix) == pytest.approx(sklearn_metrics.f1_score(labels, predicted, average=None))
    assert macro_f1s(matrix) == pytest.approx(sklearn_metrics.f1_score(labels, predicted, average="macro"))
    assert accuracies(matrix) == pytest.approx((labels == predicted).mean())


def test_the_macro_mean_leaves_out_classes_that_a_resample_lacks() -> None:
    matrix = np.array([[4.0, 0, 1], [0, 3, 2], [0, 0, 0]])
    assert macro_f1s(matrix) == pytest.approx((8 / 9 + 6 / 8) / 2)
    assert np.isnan(recalls(matrix)[2])


def test_recognition_has_intervals() -> None:
    found = recognition(random_rows(150, pictures=60), CLASSES, Bootstrap(200))
    assert found is not None
    for figure in (found.f1_macro, found.accuracy, *(of.recall for of in found.classes)):
        assert figure.value is not None
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < figure.value < figure.high


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    found = recognition(made_rows([A, A], ["green", "authentic"]), CLASSES, Bootstrap(50))
    assert found is not None
    assert found.classes[1].precision == Estimate(None)
    assert found.classes[1].recall.high == pytest.approx(0.975)  # one picture shows nothing


def test_without_an_image_of_a_class_there_is_no_recognition() -> None:
    assert recognition(made_rows([A], ["firefly"]), CLASSES, Bootstrap()) is None


def test_the_confusion_matrix_shows_other_labels_too() -> None:
    rows = made_rows([A, G, G, B, A], ["authentic", "authentic", "green", "firefly", "real-phones"])
    found = confusion(rows, CLASSES)
    assert found.columns == CLASSES
    assert dict(zip(found.rows, found.counts, strict=True)) == {
        "authentic": (1, 1, 0),
        "green": (0, 1, 0),
        "firefly": (0, 0, 1),
        "real-phones": (1, 0, 0),
    }
    assert confusion(made_rows([], []), CLASSES).rows == ()
