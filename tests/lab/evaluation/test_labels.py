from typing import Any

import pytest

from worker.errors import ErrorCode, SetupError
from worker.lab.evaluation.labels import Label, read_labels

CLASSES = ("authentic", "green", "blue")


def refusal(labels: list[str], **declared: Any) -> SetupError:
    with pytest.raises(SetupError) as caught:
        read_labels(labels, CLASSES, **declared)
    return caught.value


def test_a_label_is_a_class_of_the_weights_and_the_first_is_authentic() -> None:
    assert read_labels(["blue", "authentic"], CLASSES) == {
        "authentic": Label("authentic", synthetic=False, index=0),
        "blue": Label("blue", synthetic=True, index=2),
    }


def test_declared_labels_count_in_detection_alone() -> None:
    labels = read_labels(["phones", "other"], CLASSES, authentic=["phones"], synthetic=["other"])
    assert labels["phones"] == Label("phones", synthetic=False, index=None)
    assert labels["other"] == Label("other", synthetic=True, index=None)


def test_an_alias_is_the_class_it_names() -> None:
    labels = read_labels(["coco", "sea"], CLASSES, alias={"coco": "authentic", "sea": "blue"})
    assert (labels["coco"].index, labels["coco"].synthetic) == (0, False)
    assert (labels["sea"].index, labels["sea"].synthetic) == (2, True)


def test_labels_that_are_no_class_are_named_with_the_remedies() -> None:
    error = refusal(["authentic", "firefly", "glide"])
    assert error.code is ErrorCode.DATA_INVALID
    assert "firefly, glide: not among the weights' classes (authentic, green, blue)" in error.message
    assert all(option in error.message for option in ("--synthetic", "--authentic", "--alias"))


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"authentic": ["x"], "synthetic": ["x"]}, "x: declared --authentic and --synthetic"),
        ({"synthetic": ["y"]}, "no image is labelled y; there are green, x"),
        ({"alias": {"y": "green"}}, "no image is labelled y"),
        ({"synthetic": ["green", "x"]}, "green: a class of the weights already"),
        ({"alias": {"x": "red"}}, "--alias names red, but the weights' classes are authentic, green, blue"),
    ],
)
def test_a_declaration_that_fits_nothing_is_refused(declared: dict[str, Any], words: str) -> None:
    error = refusal(["x", "green"], **declared)
    assert error.code is ErrorCode.SETTINGS
    assert words in error.message
