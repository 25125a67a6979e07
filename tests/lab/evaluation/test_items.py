from typing import Any

import numpy as np
import pytest

from tests.support.labelled import entry, tinted
from worker.errors import ErrorCode, SetupError
from worker.lab.evaluation.items import Declarations, Label, Level, make_items, read_labels
from worker.lab.evaluation.scoring import Scores
from worker.policy.decide import aggregate, evidence
from worker.policy.policy import Aggregation, Rule

PROBABILITIES = np.random.default_rng(0).dirichlet([1, 1, 1], 8)
ENTRIES = tuple(
    entry(name, tinted("green"), label, picture=picture)
    for name, label, picture in (("a", "authentic", "p"), ("b", "green", "q"), ("c", "other", "p"))
)
LABELS = {
    "authentic": Label("authentic", synthetic=False, index=0),
    "green": Label("green", synthetic=True, index=1),
    "other": Label("other", synthetic=True, index=None),
}
SCORES = Scores(ENTRIES, np.log(PROBABILITIES).astype(np.float32), np.array([0, 0, 0, 1, 2, 2, 2, 2]), ())


@pytest.mark.parametrize("rule", list(Rule))
def test_scores_are_what_a_policy_decides_by(rule: Rule) -> None:
    rows = make_items(SCORES, LABELS, temperature=1, rule=rule, how=Aggregation.MEAN)[Level.PATCH]
    expected = [evidence(row, rule) for row in PROBABILITIES]
    np.testing.assert_allclose(rows.scores, expected, atol=1e-6)


def test_most_probable_calls_synthetic_exactly_where_a_synthetic_class_is_on_top() -> None:
    called = evidence(PROBABILITIES, Rule.ARGMAX) >= 0.5
    assert called.tolist() == (PROBABILITIES.argmax(axis=1) > 0).tolist()
    assert {False, True} == set(called.tolist())


@pytest.mark.parametrize("how", list(Aggregation))
def test_an_images_tiles_are_aggregated_as_a_policy_does(how: Aggregation) -> None:
    rows = make_items(SCORES, LABELS, temperature=1, rule=Rule.SUM, how=how)[Level.IMAGE]
    expected = [aggregate(PROBABILITIES[start:end], how) for start, end in ((0, 3), (3, 4), (4, 8))]
    np.testing.assert_allclose(rows.probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(rows.scores, 1 - np.array(expected)[:, 0], atol=1e-6)


def test_each_row_has_its_label_and_its_picture() -> None:
    both = make_items(SCORES, LABELS, temperature=1, rule=Rule.SUM, how=Aggregation.MEAN)
    images, patches = both[Level.IMAGE], both[Level.PATCH]
    assert images.synthetic.tolist() == [False, True, True]
    assert images.index.tolist() == [0, 1, -1]
    assert images.pictures.tolist() == [0, 1, 0]
    assert patches.index.tolist() == [0, 0, 0, 1, -1, -1, -1, -1]
    assert [of.name for of in patches.entries] == list("aaabcccc")
    np.testing.assert_allclose(patches.probabilities, PROBABILITIES, atol=1e-6)


def test_the_temperature_flattens_probabilities_and_keeps_the_most_probable_class() -> None:
    at = [
        make_items(SCORES, LABELS, temperature=value, rule=Rule.SUM, how=Aggregation.MEAN)[Level.PATCH]
        for value in (1.0, 4.0)
    ]
    assert (at[1].probabilities.max(axis=1) < at[0].probabilities.max(axis=1)).all()
    assert at[0].predicted.tolist() == at[1].predicted.tolist()


def test_no_images_make_no_rows() -> None:
    none = Scores((), np.empty((0, 3), np.float32), np.empty(0, np.int64), ENTRIES)
    for rows in make_items(none, LABELS, temperature=1, rule=Rule.ARGMAX, how=Aggregation.MAX).values():
        assert len(rows) == 0
        assert rows.probabilities.shape == (0, 3)


CLASSES = ("authentic", "green", "blue")


def meanings(labels: list[str], **declared: Any) -> dict[str, Label]:
    entries = [entry(f"{label}.png", b"", label) for label in labels]
    return read_labels(entries, CLASSES, Declarations(**declared))


def refusal(labels: list[str], **declared: Any) -> SetupError:
    with pytest.raises(SetupError) as caught:
        meanings(labels, **declared)
    return caught.value


def test_a_label_is_a_class_of_the_weights_and_the_first_is_authentic() -> None:
    assert meanings(["blue", "authentic"]) == {
        "authentic": Label("authentic", synthetic=False, index=0),
        "blue": Label("blue", synthetic=True, index=2),
    }


def test_declared_labels_count_in_detection_only() -> None:
    labels = meanings(["phones", "other"], authentic=("phones",), synthetic=("other",))
    assert labels["phones"] == Label("phones", synthetic=False, index=None)
    assert labels["other"] == Label("other", synthetic=True, index=None)


def test_an_alias_is_the_class_it_names() -> None:
    labels = meanings(["coco", "sea"], alias={"coco": "authentic", "sea": "blue"})
    assert (labels["coco"].index, labels["coco"].synthetic) == (0, False)
    assert (labels["sea"].index, labels["sea"].synthetic) == (2, True)


def test_labels_that_are_not_classes_are_named_with_the_remedies() -> None:
    error = refusal(["authentic", "firefly", "glide"])
    assert error.code is ErrorCode.DATA_INVALID
    assert "firefly, glide: not among the weights' classes (authentic, green, blue)" in error.message
    assert all(option in error.message for option in ("--synthetic", "--authentic", "--alias"))


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"authentic": ("x",), "synthetic": ("x",)}, "x: declared --authentic and --synthetic"),
        ({"synthetic": ("y",)}, "no image is labelled y; there are green, x"),
        ({"alias": {"y": "green"}}, "no image is labelled y"),
        ({"synthetic": ("green", "x")}, "green: a class of the weights already"),
        ({"alias": {"x": "red"}}, "--alias names red, but the weights' classes are authentic, green, blue"),
    ],
)
def test_a_declaration_that_fits_nothing_is_refused(declared: dict[str, Any], words: str) -> None:
    error = refusal(["x", "green"], **declared)
    assert error.code is ErrorCode.SETTINGS
    assert words in error.message
