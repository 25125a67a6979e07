import io

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from worker.lab.evaluation.alterations import (
    ALTERATIONS,
    FAMILIES,
    Alteration,
    Family,
    Filter,
    Variant,
    VariantParameters,
    make_variant,
)
from worker.lab.imaging import Pixels

MAX_PIXELS = 10_000_000
BY_NAME = {family.name: family for family in FAMILIES}
PHOTOGRAPH = np.ascontiguousarray(astronaut()[:300, :400])


def variant(variant: Variant, **parameters: object) -> Pixels:
    made = make_variant(PHOTOGRAPH, variant, VariantParameters(**parameters))  # type: ignore[arg-type]
    assert made is not None
    return made


def test_the_original_is_not_altered() -> None:
    assert variant(Variant.ORIGINAL) is PHOTOGRAPH


@pytest.mark.parametrize("quality", [30, 75])
def test_the_jpeg_variant_is_what_pillow_writes_and_reads_at_that_quality(quality: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PHOTOGRAPH).save(buffer, "JPEG", quality=quality, subsampling=2)
    with Image.open(buffer) as image:
        expected = np.asarray(image)
    assert np.array_equal(variant(Variant.JPEG, quality=quality), expected)


def test_a_downscaled_image_has_scaled_sides() -> None:
    assert variant(Variant.DOWNSCALED, scale=0.25).shape == (75, 100, 3)


def test_down_and_up_keeps_the_size_and_loses_detail() -> None:
    again = variant(Variant.DOWN_UP)
    assert again.shape == PHOTOGRAPH.shape
    detail = np.abs(np.diff(PHOTOGRAPH.astype(int), axis=1)).mean()
    assert np.abs(np.diff(again.astype(int), axis=1)).mean() < 0.8 * detail
    assert np.abs(again.astype(int) - PHOTOGRAPH).mean() < 5


def test_the_filter_matters() -> None:
    made = {of: variant(Variant.DOWNSCALED, filter=of) for of in Filter}
    assert len({image.tobytes() for image in made.values()}) == len(Filter)


def test_parameters_are_described() -> None:
    parameters = VariantParameters(quality=60, scale=0.25, filter=Filter.LANCZOS)
    assert "60" in parameters.describe(Variant.JPEG)
    assert "0.25" in parameters.describe(Variant.DOWN_UP)
    assert "lanczos" in parameters.describe(Variant.DOWN_UP)


def altered(name: str, setting: float, pixels: Pixels = PHOTOGRAPH) -> Pixels:
    made = Alteration(BY_NAME[name], setting).apply(pixels, MAX_PIXELS)
    assert made is not None
    return made


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_the_lower_the_quality_the_larger_the_difference(name: str) -> None:
    errors = []
    for quality in BY_NAME[name].settings:
        made = altered(name, quality)
        assert made.shape == (300, 400, 3)
        errors.append(float(np.abs(made.astype(int) - PHOTOGRAPH).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] > 0


def test_resizing_scales_both_sides_and_keeps_the_content() -> None:
    for scale in BY_NAME["resize"].settings:
        made = altered("resize", scale)
        assert made.shape == (round(300 * scale), round(400 * scale), 3)
        assert made.mean() == pytest.approx(PHOTOGRAPH.mean(), abs=1)


def test_a_crop_is_the_middle_unchanged() -> None:
    assert np.array_equal(altered("crop", 0.5), PHOTOGRAPH[75:225, 100:300])


def test_a_shift_cuts_off_the_first_rows_and_columns() -> None:
    assert np.array_equal(altered("shift", 3), PHOTOGRAPH[3:, 3:])


def test_a_thumbnail_has_the_longest_side_that_its_setting_says_and_was_a_jpeg() -> None:
    large = np.tile(PHOTOGRAPH, (3, 2, 1))  # 800×900
    made = altered("thumbnail", 512, large)
    assert made.shape == (512, 455, 3)
    unencoded = np.asarray(Image.fromarray(large).resize((455, 512), Image.Resampling.LANCZOS))
    assert 0 < np.abs(made.astype(int) - unencoded).mean() < 5


def test_an_alteration_does_not_apply_where_a_worker_or_the_format_refuses_the_result() -> None:
    long = np.zeros((1, 16_384, 3), np.uint8)
    assert Alteration(BY_NAME["thumbnail"], 512).apply(PHOTOGRAPH, MAX_PIXELS) is None
    assert Alteration(BY_NAME["resize"], 2).apply(PHOTOGRAPH, 400 * 300 * 4 - 1) is None
    assert Alteration(BY_NAME["webp"], 80).apply(long, MAX_PIXELS) is None
    assert Alteration(BY_NAME["shift"], 1).apply(long, MAX_PIXELS) is None


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_settings_ascend_and_none_of_them_is_the_unaltered_image(family: Family) -> None:
    assert list(family.settings) == sorted(set(family.settings))
    assert family.as_is not in family.settings


def test_alterations_have_different_names() -> None:
    assert len({str(alteration) for alteration in ALTERATIONS}) == len(ALTERATIONS)
