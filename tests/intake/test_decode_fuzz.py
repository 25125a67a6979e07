"""Whatever bytes arrive: an image of the announced shape, or one of the documented refusals, soon."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.corpus import encoded, heif, png_chunk, texture
from worker.errors import ErrorCode, PermanentError
from worker.intake.decode import decode

MAX_PIXELS = 200_000
SECONDS = 5.0
CODES = {ErrorCode.UNSUPPORTED_FORMAT, ErrorCode.TRUNCATED, ErrorCode.CORRUPT, ErrorCode.TOO_MANY_PIXELS}

_RGB, _TURNED = texture(90, 70), texture(90, 70).rotate(180)
FILES = {
    "baseline": encoded(_RGB, "JPEG", quality=80),
    "progressive": encoded(_RGB, "JPEG", progressive=True, restart_marker_rows=1),
    "cmyk": encoded(_RGB.convert("CMYK"), "JPEG"),
    "mpo": encoded(_RGB, "MPO", save_all=True, append_images=[_TURNED]),
    "png": encoded(_RGB, "PNG"),
    "palette": encoded(_RGB.quantize(8), "PNG", transparency=1),
    "apng": encoded(_RGB, "PNG", save_all=True, append_images=[_TURNED]),
    "gif": encoded(_RGB.quantize(32), "GIF", save_all=True, append_images=[_TURNED.quantize(8)], transparency=2),
    "webp": encoded(_RGB, "WEBP", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00"),
    "lossless": encoded(_RGB.convert("RGBA"), "WEBP", lossless=True),
    "animated": encoded(_RGB, "WEBP", save_all=True, append_images=[_TURNED]),
    "avif": encoded(_RGB, "AVIF", speed=10),
    "avif alpha": encoded(_RGB.convert("RGBA"), "AVIF", speed=10),
    "avif sequence": encoded(_RGB, "AVIF", speed=10, save_all=True, append_images=[_TURNED]),
    "heif": heif(_RGB, thumbnails=[32]),
    "heif grid": heif(texture(200, 150), tile_size=64),
}

fuzzed = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def outcome(content: bytes) -> NDArray[np.uint8] | PermanentError:
    try:
        return decode(content, MAX_PIXELS).pixels
    except PermanentError as error:
        return error


def survives(content: bytes) -> NDArray[np.uint8] | PermanentError:
    begun = time.monotonic()
    result = outcome(content)
    assert time.monotonic() - begun < SECONDS
    if isinstance(result, PermanentError):
        assert result.code in CODES
        assert result.message.isprintable()
    else:
        height, width, channels = result.shape
        assert width * height <= MAX_PIXELS
        assert (channels, result.dtype) == (3, np.uint8)
    return result


@pytest.mark.parametrize("name", FILES)
@fuzzed
@given(data=st.data())
def test_changed_bytes_end_in_an_image_or_a_refusal(name: str, data: st.DataObject) -> None:
    content = bytearray(FILES[name])
    # Headers decide more than pixels do, so they are hit as often as all the rest.
    place = st.integers(0, min(400, len(content) - 1)) | st.integers(0, len(content) - 1)
    for at, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=8)):
        content[at] = value
    survives(bytes(content))


@pytest.mark.parametrize("name", FILES)
@fuzzed
@given(data=st.data())
def test_bytes_taken_out_or_put_in_end_in_an_image_or_a_refusal(name: str, data: st.DataObject) -> None:
    content = FILES[name]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 300)))
    survives(content[:start] + data.draw(st.binary(max_size=64)) + content[end:])


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_truncated_unless_all_of_its_pixels_are_there(name: str) -> None:
    content, whole = FILES[name], outcome(FILES[name])
    places = {*range(1, min(700, len(content))), *range(700, len(content), 37), *range(len(content) - 40, len(content))}
    for end in sorted(places):
        result = outcome(content[:end])
        if isinstance(result, PermanentError):
            assert result.code == ErrorCode.TRUNCATED, end
        else:
            assert np.array_equal(result, whole), end


@fuzzed
@given(
    st.sampled_from(
        [
            b"",
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a",
            b"RIFF\x40\x00\x00\x00WEBPVP8 ",
            b"\x00\x00\x00\x20ftypavif",
        ]
    ),
    st.binary(max_size=400),
)
@example(b"\xff\xd8", b"\xff\xd9")
@example(b"\xff\xd8", b"\xff" * 400)
@example(b"\x89PNG\r\n\x1a\n", png_chunk(b"IEND", b""))
@example(b"GIF89a", bytes(7) + b"!")
@example(b"GIF89a", bytes(400))
def test_garbage_after_a_signature_is_refused(signature: bytes, garbage: bytes) -> None:
    assert isinstance(survives(signature + garbage), PermanentError)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xff\xd8" + b"\xff" * 4_000_000, id="fill bytes"),
        pytest.param(b"\xff\xd8" + b"\xff\x00" * 2_000_000, id="stuffed bytes"),
        pytest.param(b"\xff\xd8" + b"\xff\xe1\x00\x08Exif\x00\x00" * 400_000, id="EXIF segments"),
        pytest.param(b"\xff\xd8" + b"\xff\xd0" * 2_000_000, id="restart marks"),
        pytest.param(b"GIF89a" + bytes(7) + b"!\xfe" + b"\x01x" * 2_000_000, id="GIF comment"),
        pytest.param(FILES["png"][:33] + png_chunk(b"tEXt", b"") * 300_000 + FILES["png"][33:], id="PNG chunks"),
        pytest.param(FILES["png"][:33] + png_chunk(b"IDAT", b"") * 300_000 + FILES["png"][33:], id="empty pixels"),
        pytest.param(b"GIF89a" + bytes(7) + b"!\xfe\x00" * 1_300_000, id="GIF extensions"),
        pytest.param(b"GIF89a" + bytes(4_000_000), id="GIF stray bytes"),
        pytest.param(b"\x00\x00\x00\x10ftypavifavif" + b"\x00\x00\x00\x08free" * 400_000, id="AVIF boxes"),
    ],
)
def test_four_megabytes_of_nothing_are_walked_soon(content: bytes) -> None:
    survives(content)
