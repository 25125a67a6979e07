import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.lazily import ImportedWhenUsed
from worker.errors import ErrorCode, SetupError
from worker.lab.evaluation.calibration import calibration, fit_temperature
from worker.lab.evaluation.scorer import softmax

sklearn_metrics = ImportedWhenUsed("sklearn.metrics")


def drawn(count: int, overconfidence: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits [count, 3] that are `overconfidence` times those by which the classes were drawn."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (count, 3)).astype(np.float32)
    chances = softmax(logits).cumsum(axis=1)
    labels = (generator.random((count, 1)) > chances).sum(axis=1).clip(0, 2)
    return logits * np.float32(overconfidence), labels


def test_the_calibration_error_of_a_hand_computed_case() -> None:
    # Confidence 0.9 twice, right once; 0.55 three times, right always.
    probabilities = np.array([[0.9, 0.1]] * 2 + [[0.55, 0.45]] * 3)
    labels = np.array([0, 1, 0, 0, 0])
    found = calibration(np.log(probabilities).astype(np.float32), labels, 1.0)
    assert found.expected_error == pytest.approx((2 * abs(0.5 - 0.9) + 3 * abs(1 - 0.55)) / 5, abs=1e-6)
    assert [(item.count, item.accuracy) for item in found.bins] == [(3, 1.0), (2, 0.5)]
    assert [(item.low, item.high) for item in found.bins] == [(8 / 15, 9 / 15), (13 / 15, 14 / 15)]


def test_the_likelihood_is_scikit_learns_log_loss() -> None:
    logits, labels = drawn(300, 2.0)
    for temperature in (0.7, 1.0, 3.0):
        probabilities = softmax(logits, temperature).astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        expected = sklearn_metrics.log_loss(labels, probabilities, labels=[0, 1, 2])
        assert calibration(logits, labels, temperature).negative_log_likelihood == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 4.0])
def test_the_temperature_is_how_overconfident_the_logits_were_made(overconfidence: float) -> None:
    assert fit_temperature(*drawn(20_000, overconfidence)) == pytest.approx(overconfidence, rel=0.03)


def test_no_other_temperature_is_likelier() -> None:
    logits, labels = drawn(400, 3.0, seed=1)
    fitted = fit_temperature(logits, labels)
    best = calibration(logits, labels, fitted).negative_log_likelihood
    for factor in (0.8, 0.97, 1.03, 1.25):
        assert calibration(logits, labels, fitted * factor).negative_log_likelihood > best


def test_fitting_on_one_half_lowers_the_error_on_the_other_and_changes_no_answer() -> None:
    logits, labels = drawn(4000, 4.0)
    fitted = fit_temperature(logits[:2000], labels[:2000])
    before, after = (calibration(logits[2000:], labels[2000:], temperature) for temperature in (1.0, fitted))
    assert after.expected_error < 0.25 * before.expected_error
    assert after.negative_log_likelihood < before.negative_log_likelihood
    assert np.array_equal(softmax(logits).argmax(axis=1), softmax(logits, fitted).argmax(axis=1))


def test_certain_answers_far_from_the_truth_have_a_finite_loss() -> None:
    found = calibration(np.array([[500.0, 0, 0]], np.float32), np.array([1]), 1.0)
    assert found.negative_log_likelihood == pytest.approx(500)
    assert found.expected_error == pytest.approx(1)


def test_tiles_without_an_error_fit_no_temperature() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]] * 5
    with pytest.raises(SetupError, match="not one is classified wrongly") as caught:
        fit_temperature(logits, np.array([0, 1, 2, 0]))
    assert caught.value.code is ErrorCode.DATA_INVALID


def test_logits_that_do_not_depend_on_the_class_fit_no_temperature() -> None:
    logits, labels = drawn(300, 1.0)
    with pytest.raises(SetupError, match="say nothing about their classes"):
        fit_temperature(-logits, labels)


def test_no_tiles_fit_no_temperature() -> None:
    with pytest.raises(SetupError, match="no image of a class of the weights"):
        fit_temperature(np.empty((0, 3), np.float32), np.empty(0, np.int64))
