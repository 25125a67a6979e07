from __future__ import annotations

import numpy as np
import pytest
from skimage.data import astronaut

from worker.intake.decode import Image
from worker.lab.evaluation.stability_alterations import ALTERATIONS, FAMILIES, Alteration, Family

MAX_PIXELS = 10_000_000
BY_NAME = {family.name: family for family in FAMILIES}


def image_of(pixels: np.ndarray) -> Image:
    return Image(np.ascontiguousarray(pixels), pixels.shape[1], pixels.shape[0], "PNG")


PHOTOGRAPH = image_of(astronaut()[:300, :400])


def altered(name: str, setting: float, image: Image = PHOTOGRAPH) -> Image:
    other = Alteration(BY_NAME[name], setting).apply(image, MAX_PIXELS)
    assert other is not None
    assert other.pixels.shape == (other.height, other.width, 3)
    return other


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_the_lower_the_quality_the_farther_from_the_image_as_it_is(name: str) -> None:
    errors = []
    for quality in BY_NAME[name].settings:
        other = altered(name, quality)
        assert (other.width, other.height, other.format) == (400, 300, name.upper())
        errors.append(float(np.abs(other.pixels.astype(int) - PHOTOGRAPH.pixels).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] > 0


def test_resizing_changes_both_sides_and_keeps_what_is_shown() -> None:
    for scale in BY_NAME["resize"].settings:
        other = altered("resize", scale)
        assert (other.width, other.height) == (round(400 * scale), round(300 * scale))
        assert other.pixels.mean() == pytest.approx(PHOTOGRAPH.pixels.mean(), abs=1)


def test_a_crop_is_the_middle_untouched() -> None:
    other = altered("crop", 0.5)
    assert np.array_equal(other.pixels, PHOTOGRAPH.pixels[75:225, 100:300])


def test_a_shift_cuts_off_the_first_rows_and_columns() -> None:
    assert np.array_equal(altered("shift", 3).pixels, PHOTOGRAPH.pixels[3:, 3:])


def test_a_thumbnail_has_the_longest_side_asked_for_and_is_a_jpeg() -> None:
    large = image_of(np.tile(PHOTOGRAPH.pixels, (3, 2, 1)))  # 800×900
    other = altered("thumbnail", 512, large)
    assert (other.width, other.height, other.format) == (455, 512, "JPEG")


def test_what_a_worker_or_the_format_would_not_take_does_not_apply() -> None:
    long = image_of(np.zeros((1, 16_384, 3), np.uint8))
    assert Alteration(BY_NAME["thumbnail"], 512).apply(PHOTOGRAPH, MAX_PIXELS) is None
    assert Alteration(BY_NAME["resize"], 2).apply(PHOTOGRAPH, 400 * 300 * 4 - 1) is None
    assert Alteration(BY_NAME["webp"], 80).apply(long, MAX_PIXELS) is None
    assert Alteration(BY_NAME["shift"], 1).apply(long, MAX_PIXELS) is None


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_settings_ascend_and_the_image_as_it_is_is_none_of_them(family: Family) -> None:
    assert list(family.settings) == sorted(set(family.settings))
    assert family.as_is not in family.settings


def test_every_family_names_each_of_its_settings_apart() -> None:
    assert len({str(alteration) for alteration in ALTERATIONS}) == len(ALTERATIONS)
