import base64
import io

import numpy as np
import pytest
from PIL import Image
from skimage.data import chelsea

from worker.lab.imaging import Format, encode, reencode, resize, scaled_size, thumbnail_uri

PHOTOGRAPH = np.ascontiguousarray(chelsea())  # 300 × 451


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_what_is_encoded_is_decoded_as_pillow_does(format: Format) -> None:
    with Image.open(io.BytesIO(encode(PHOTOGRAPH, format, 60))) as image:
        assert image.format == format
        expected = np.asarray(image)
    assert np.array_equal(reencode(PHOTOGRAPH, format, 60), expected)


def test_a_side_that_the_format_does_not_allow_gives_nothing() -> None:
    long = np.zeros((1, 16_384, 3), np.uint8)
    assert reencode(long, "WEBP", 80) is None
    assert reencode(long, "JPEG", 80) is not None


def test_no_side_shrinks_to_nothing() -> None:
    size = scaled_size(PHOTOGRAPH[:3, :5], 0.01)
    assert size == (1, 1)
    assert resize(PHOTOGRAPH[:3, :5], size).shape == (1, 1, 3)


def test_shrinking_widens_the_filter_so_that_fine_stripes_turn_gray() -> None:
    stripes = np.tile((np.arange(400) % 2 * 255).astype(np.uint8)[None, :, None], (300, 1, 3))
    small = resize(stripes, (100, 75), Image.Resampling.BICUBIC)
    assert np.abs(small[:, 2:-2].astype(int) - 127).max() <= 2


def test_a_thumbnail_is_a_small_jpeg_in_the_page() -> None:
    kind, _, data = thumbnail_uri(PHOTOGRAPH, 120).partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (120, 80)
