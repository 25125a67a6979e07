import pytest

from tests.lab.evaluation.rows import made_rows
from worker.lab.evaluation.bootstrap import Bootstrap, Estimate
from worker.lab.evaluation.recalls import complement, recalls_by_dataset


def scored(*scores: float) -> list[list[float]]:
    return [[1 - score, score, 0] for score in scores]


ROWS = made_rows(
    scored(0.1, 0.6, 0.2, 0.3, 0.9, 0.4, 0.8),
    ["authentic", "authentic", "authentic", "authentic", "green", "green", "blue"],
    datasets=["phones", "phones", "web", "web", "web", "web", "art"],
)


def test_each_origin_has_its_recall_and_authentic_ones_come_first() -> None:
    found = recalls_by_dataset(ROWS, 0.5, 0.35, Bootstrap(0))
    assert [(of.dataset, of.label, of.synthetic, of.count) for of in found] == [
        ("phones", "authentic", False, 2),
        ("web", "authentic", False, 2),
        ("art", "blue", True, 1),
        ("web", "green", True, 2),
    ]
    assert [of.at_half.value for of in found] == [0.5, 1, 1, 0.5]
    assert [of.at_best.value for of in found if of.at_best] == [0.5, 1, 1, 1]


def test_a_data_set_is_authentic_only_when_nothing_synthetic_is_in_it() -> None:
    found = recalls_by_dataset(ROWS, 0.5, None, Bootstrap(0))
    assert [of.dataset for of in found if of.authentic_only] == ["phones"]
    assert found[0].false_positive_rate.value == 0.5
    assert found[0].at_best is None


def test_the_interval_of_one_origin_rests_on_its_own_pictures() -> None:
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


def test_the_complement_turns_the_interval_round() -> None:
    assert complement(Estimate(0.75, 0.5, 1.0)) == Estimate(0.25, 0.0, 0.5)
    assert complement(Estimate(None)) == Estimate(None)
