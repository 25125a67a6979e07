from typing import Any

import pytest

from worker.errors import ErrorCode, SetupError
from worker.evaluation.truth import Truth, read_truth

CLASSES = ("authentic", "green", "blue")


def refusal(labels: list[str], **declared: Any) -> SetupError:
    with pytest.raises(SetupError) as caught:
        read_truth(labels, CLASSES, **declared)
    return caught.value


def test_a_label_is_a_class_of_the_weights_and_the_first_is_authentic() -> None:
    assert read_truth(["blue", "authentic"], CLASSES) == {
        "authentic": Truth("authentic", synthetic=False, index=0),
        "blue": Truth("blue", synthetic=True, index=2),
    }


def test_declared_labels_count_in_detection_alone() -> None:
    truth = read_truth(["phones", "other"], CLASSES, authentic=["phones"], synthetic=["other"])
    assert truth["phones"] == Truth("phones", synthetic=False, index=None)
    assert truth["other"] == Truth("other", synthetic=True, index=None)


def test_an_alias_is_the_class_it_names() -> None:
    truth = read_truth(["coco", "sea"], CLASSES, alias={"coco": "authentic", "sea": "blue"})
    assert (truth["coco"].index, truth["coco"].synthetic) == (0, False)
    assert (truth["sea"].index, truth["sea"].synthetic) == (2, True)


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
