import io

import numpy as np
import pytest
from PIL import Image
from skimage.data import chelsea

from worker.lab.evaluation.variants import Alterations, Filter, Variant, alter

PHOTOGRAPH = np.ascontiguousarray(chelsea())  # 300 × 451


def test_the_original_is_left_alone() -> None:
    assert alter(PHOTOGRAPH, Variant.ORIGINAL, Alterations()) is PHOTOGRAPH


@pytest.mark.parametrize("quality", [30, 75])
def test_jpeg_is_what_pillow_writes_and_reads_at_that_quality(quality: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PHOTOGRAPH).save(buffer, "JPEG", quality=quality, subsampling=2)
    with Image.open(buffer) as image:
        expected = np.asarray(image)
    assert np.array_equal(alter(PHOTOGRAPH, Variant.JPEG, Alterations(quality=quality)), expected)


def test_downscaling_widens_its_filter_so_that_fine_stripes_turn_gray() -> None:
    stripes = np.tile((np.arange(400) % 2 * 255).astype(np.uint8)[None, :, None], (300, 1, 3))
    small = alter(stripes, Variant.DOWNSCALED, Alterations(scale=0.25))
    assert small.shape == (75, 100, 3)
    assert np.abs(small[:, 2:-2].astype(int) - 127).max() <= 2


def test_down_and_up_keeps_the_size_and_loses_detail() -> None:
    again = alter(PHOTOGRAPH, Variant.DOWN_UP, Alterations())
    assert again.shape == PHOTOGRAPH.shape
    detail = np.abs(np.diff(PHOTOGRAPH.astype(int), axis=1)).mean()
    assert np.abs(np.diff(again.astype(int), axis=1)).mean() < 0.8 * detail
    assert np.abs(again.astype(int) - PHOTOGRAPH).mean() < 5


def test_the_filter_matters() -> None:
    made = {of: alter(PHOTOGRAPH, Variant.DOWNSCALED, Alterations(filter=of)) for of in Filter}
    assert len({image.tobytes() for image in made.values()}) == len(Filter)


def test_nothing_shrinks_to_no_pixels() -> None:
    assert alter(PHOTOGRAPH[:3, :3], Variant.DOWNSCALED, Alterations(scale=0.01)).shape == (1, 1, 3)


def test_parameters_are_described() -> None:
    how = Alterations(quality=60, scale=0.25, filter=Filter.LANCZOS)
    assert "60" in how.describe(Variant.JPEG)
    assert "0.25" in how.describe(Variant.DOWN_UP)
    assert "lanczos" in how.describe(Variant.DOWN_UP)
