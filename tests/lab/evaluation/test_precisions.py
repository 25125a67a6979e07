"""Decisions that flip with the precision: counted in both directions, per image and per patch, with their interval."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.lab.evaluation.rows import scored_rows
from tests.support.commands import Susy
from tests.support.labelled import TINTS, tinted
from tests.support.released import random_susy
from worker.detector.weights import save_weights
from worker.lab.evaluation.precisions import compare
from worker.lab.intervals import exact_interval

KINDS = [False, True, True, False]

pytestmark = pytest.mark.usefixtures("forked_programs")


def test_flips_are_counted_in_both_directions() -> None:
    found = compare("original", scored_rows([0.49, 0.9, 0.51, 0.1], KINDS), scored_rows([0.5, 0.9, 0.499, 0.2], KINDS))
    assert (found.count, found.to_synthetic, found.to_authentic, found.share) == (4, 1, 1, 0.5)
    assert found.largest == pytest.approx(0.1)
    assert found.mean == pytest.approx((0.01 + 0.011 + 0.1) / 4)
    assert (found.low, found.high) == pytest.approx(exact_interval(2, 4))


def test_rows_of_one_picture_widen_the_interval() -> None:
    before, after = [0.4] * 4 + [0.9] * 4, [0.6] * 4 + [0.9] * 4
    alone = compare("original", *(scored_rows(scores, KINDS * 2) for scores in (before, after)))
    pictures = [0, 0, 0, 0, 1, 1, 1, 1]
    grouped = compare("original", *(scored_rows(scores, KINDS * 2, pictures=pictures) for scores in (before, after)))
    assert alone.share == grouped.share
    assert grouped.low < alone.low
    assert grouped.high > alone.high


def test_nothing_flips_of_nothing() -> None:
    found = compare("original", scored_rows([], []), scored_rows([], []))
    assert (found.count, found.share, found.low, found.high) == (0, 0.0, 0.0, 1.0)


def test_other_images_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not of the same images"):
        compare("original", scored_rows([0.1], [False]), scored_rows([0.1, 0.2], [False, False]))


@pytest.fixture
def command_variables() -> dict[str, str]:
    return {"SUSY_THREADS": "1"}


def test_evaluate_compares_precisions(susy: Susy, tmp_path: Path) -> None:
    images = tmp_path / "images"
    for label in TINTS:
        (images / label / "test").mkdir(parents=True)
        Image.fromarray(tinted(label)).save(images / label / "test" / "0.png")
    weights = tmp_path / "own.safetensors"
    save_weights(weights, random_susy(3), name="random", version="1", classes=TINTS, provenance={"made": "here"})
    command = ("evaluate", images, "--weights", weights, "--bootstrap", "0", "--json")
    document = susy(*command, "--precision", "float32,bfloat16").document
    (compared,) = document["precisions"]
    assert (compared["first"], compared["second"]) == ("float32", "bfloat16")
    assert [flips["level"] for flips in compared["flips"]] == ["image", "patch"]
    assert all(0 < flips["largest"] < 0.1 for flips in compared["flips"]), "both precisions were computed"
    refused = susy(*command, "--precision", "float8")
    assert refused.code == 2
    assert "float8: it is one of float32, bfloat16, float16" in refused.stderr
