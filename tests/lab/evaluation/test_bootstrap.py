import numpy as np
import pytest

from tests.lab.evaluation.rows import random_rows, scored_rows
from worker.lab.evaluation.bootstrap import Bootstrap, Estimate, complement, estimate, estimate_share
from worker.lab.evaluation.detection import detection

PICTURES = np.array([0, 0, 1, 2, 2, 2])
ROWS = np.array([0, 0, 1, 1, 1, 0])
COLUMNS = np.array([0, 1, 1, 0, 1, 1])


def test_a_resample_is_a_recount_of_the_drawn_pictures_with_all_their_items() -> None:
    bootstrap = Bootstrap(resamples=120, seed=3)
    tables = bootstrap.tables(PICTURES, ROWS, COLUMNS, (2, 2))
    times = np.concatenate(list(bootstrap.draws(3)))
    assert tables.shape == (120, 2, 2)
    assert (times.sum(axis=1) == 3).all()
    for table, drawn in zip(tables, times, strict=True):
        again = np.zeros((2, 2))
        for picture, count in enumerate(drawn):
            for item in np.flatnonzero(picture == PICTURES):
                again[ROWS[item], COLUMNS[item]] += count
        assert np.array_equal(table, again)


def test_the_same_seed_draws_the_same_and_another_seed_otherwise() -> None:
    draws = [np.concatenate(list(Bootstrap(80, seed).draws(9))) for seed in (1, 1, 2)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_more_resamples_begin_with_the_fewer() -> None:
    few, many = (np.concatenate(list(Bootstrap(count).draws(9))) for count in (70, 130))
    assert np.array_equal(few, many[:70])


def test_copies_of_images_make_an_interval_no_narrower() -> None:
    once = random_rows(60, seed=1)
    scores, kinds = once.scores.tolist(), once.synthetic.tolist()
    fourfold = scored_rows(scores * 4, kinds * 4, pictures=list(range(60)) * 4)
    naive = scored_rows(scores * 4, kinds * 4)
    widths = [
        found.high - found.low
        for rows in (once, fourfold, naive)
        if (found := detection(rows, 0.5, Bootstrap(400))["accuracy"]).high is not None and found.low is not None
    ]
    assert widths[0] == pytest.approx(widths[1])
    assert widths[2] < 0.6 * widths[1]  # what resampling images one by one would claim: half as wide


def test_an_interval_covers_the_true_value_in_about_95_of_100_cases() -> None:
    covered = 0
    for seed in range(100):
        right = np.random.default_rng(seed).random(80) < 0.7
        rows = scored_rows(np.where(right, 0.9, 0.1).tolist(), [True] * 80)
        found = detection(rows, 0.5, Bootstrap(200, seed))["recall"]
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.7 <= found.high
    assert 88 <= covered <= 99


def test_a_percentile_interval_leaves_out_resamples_without_the_figure() -> None:
    resampled = np.concatenate([np.arange(1001) / 1000, [np.nan] * 50])
    assert estimate(0.5, resampled) == Estimate(0.5, pytest.approx(0.025), pytest.approx(0.975))


@pytest.mark.parametrize("resampled", [np.empty(0), np.full(5, np.nan), np.full(9, 0.5)])
def test_without_variation_there_is_no_interval(resampled: np.ndarray) -> None:
    assert estimate(0.5, resampled) == Estimate(0.5)


def test_a_share_of_0_or_1_gets_the_exact_binomial_interval() -> None:
    none, all_ = estimate_share(0.0, np.zeros(9), 100), estimate_share(1.0, np.ones(9), 100)
    assert none == Estimate(0.0, 0.0, pytest.approx(0.0362, abs=1e-4))  # Clopper–Pearson for 0 of 100
    assert all_ == Estimate(1.0, pytest.approx(0.9638, abs=1e-4), 1.0)
    assert estimate_share(0.0, np.empty(0), 100) == Estimate(0.0)


def test_a_single_picture_cannot_be_resampled() -> None:
    assert detection(scored_rows([0.1, 0.9], [False, True], pictures=[0, 0]), 0.5, Bootstrap())["f1"] == Estimate(1.0)


def test_the_complement_reverses_the_interval() -> None:
    assert complement(Estimate(0.75, 0.5, 1.0)) == Estimate(0.25, 0.0, 0.5)
    assert complement(Estimate(None)) == Estimate(None)
