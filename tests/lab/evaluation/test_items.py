import numpy as np
import pytest

from tests.support.labelled import entry, tinted
from worker.lab.evaluation.items import Level, items
from worker.lab.evaluation.labels import Label
from worker.lab.evaluation.scoring import Scores
from worker.policy.decide import aggregate, evidence
from worker.policy.policy import Aggregation, Rule

PROBABILITIES = np.random.default_rng(0).dirichlet([1, 1, 1], 8)
ENTRIES = tuple(
    entry(name, tinted("green"), label, picture=picture)
    for name, label, picture in (("a", "authentic", "p"), ("b", "green", "q"), ("c", "other", "p"))
)
TRUTH = {
    "authentic": Label("authentic", synthetic=False, index=0),
    "green": Label("green", synthetic=True, index=1),
    "other": Label("other", synthetic=True, index=None),
}
SCORES = Scores(ENTRIES, np.log(PROBABILITIES).astype(np.float32), np.array([0, 0, 0, 1, 2, 2, 2, 2]), ())


@pytest.mark.parametrize("rule", list(Rule))
def test_scores_are_what_a_policy_decides_by(rule: Rule) -> None:
    rows = items(SCORES, TRUTH, temperature=1, rule=rule, how=Aggregation.MEAN)[Level.PATCH]
    expected = [evidence(row, rule) for row in PROBABILITIES]
    np.testing.assert_allclose(rows.scores, expected, atol=1e-6)


def test_most_probable_calls_synthetic_exactly_where_a_synthetic_class_is_on_top() -> None:
    called = evidence(PROBABILITIES, Rule.ARGMAX) >= 0.5
    assert called.tolist() == (PROBABILITIES.argmax(axis=1) > 0).tolist()
    assert {False, True} == set(called.tolist())


@pytest.mark.parametrize("how", list(Aggregation))
def test_an_images_tiles_are_aggregated_as_a_policy_does(how: Aggregation) -> None:
    rows = items(SCORES, TRUTH, temperature=1, rule=Rule.SUM, how=how)[Level.IMAGE]
    expected = [aggregate(PROBABILITIES[start:end], how) for start, end in ((0, 3), (3, 4), (4, 8))]
    np.testing.assert_allclose(rows.probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(rows.scores, 1 - np.array(expected)[:, 0], atol=1e-6)


def test_each_row_knows_its_truth_and_its_picture() -> None:
    both = items(SCORES, TRUTH, temperature=1, rule=Rule.SUM, how=Aggregation.MEAN)
    images, patches = both[Level.IMAGE], both[Level.PATCH]
    assert images.synthetic.tolist() == [False, True, True]
    assert images.index.tolist() == [0, 1, -1]
    assert images.pictures.tolist() == [0, 1, 0]
    assert patches.index.tolist() == [0, 0, 0, 1, -1, -1, -1, -1]
    assert [of.name for of in patches.entries] == list("aaabcccc")
    np.testing.assert_allclose(patches.probabilities, PROBABILITIES, atol=1e-6)


def test_the_temperature_flattens_probabilities_and_keeps_answers() -> None:
    at = [
        items(SCORES, TRUTH, temperature=value, rule=Rule.SUM, how=Aggregation.MEAN)[Level.PATCH]
        for value in (1.0, 4.0)
    ]
    assert (at[1].probabilities.max(axis=1) < at[0].probabilities.max(axis=1)).all()
    assert at[0].answers.tolist() == at[1].answers.tolist()


def test_no_images_make_no_rows() -> None:
    none = Scores((), np.empty((0, 3), np.float32), np.empty(0, np.int64), ENTRIES)
    for rows in items(none, TRUTH, temperature=1, rule=Rule.ARGMAX, how=Aggregation.MAX).values():
        assert len(rows) == 0
        assert rows.probabilities.shape == (0, 3)
