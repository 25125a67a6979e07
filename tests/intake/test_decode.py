"""Decoding: which pixels come out."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps

from tests.support.corpus import encoded, exif_block, png, png_chunk, rotated_jpeg, texture
from worker.intake.container import read_orientation
from worker.intake.decode import STRIP_PIXELS, decode

MAX_PIXELS = 100_000_000


def pixels(content: bytes) -> np.ndarray:
    return decode(content, MAX_PIXELS).pixels


@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 90}), ("AVIF", {})]
)
def test_rgb_comes_out_exactly_as_the_decoder_gives_it(format: str, options: dict[str, object]) -> None:
    content = encoded(texture(301, 259), format, **options)
    image = decode(content, MAX_PIXELS)
    with Pillow.open(io.BytesIO(content)) as expected:
        assert np.array_equal(image.pixels, np.asarray(expected.convert("RGB")))
    assert image.format == format


def test_a_pillow_that_decodes_elsewhere_than_into_the_given_buffer_gives_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content, mapped = encoded(texture(301, 259), "JPEG"), Pillow.frombuffer
    expected = pixels(content)
    monkeypatch.setattr(Pillow, "frombuffer", lambda *arguments: mapped(*arguments).copy())
    assert np.array_equal(pixels(content), expected)


def test_an_image_of_several_strips_has_no_seams() -> None:
    picture = texture(1025, 2500)
    assert picture.width * picture.height > 2 * STRIP_PIXELS
    assert np.array_equal(pixels(encoded(picture, "PNG", compress_level=1)), np.asarray(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation_is_applied(orientation: int) -> None:
    content = rotated_jpeg(orientation)
    with Pillow.open(io.BytesIO(content)) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    assert np.array_equal(pixels(content), expected)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF", "MPO"])
def test_orientation_is_read_wherever_a_format_keeps_it(format: str) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    image = decode(encoded(texture(320, 240), format, exif=exif), MAX_PIXELS)
    assert (image.width, image.height) == (240, 320)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\x00\x00",
        b"II*\x00",
        b"II*\x00\xff\xff\xff\xff",
        b"II*\x00\x08\x00\x00\x00\xff\xff",
        b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x09\x00\x00\x00",
        b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x02\x00\x01\x00\x00\x00\x06\x00\x00\x00",
    ],
)
def test_a_broken_exif_means_upright(exif: bytes) -> None:
    assert read_orientation(exif.removeprefix(b"Exif\x00\x00")) == 1
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\x00\x00" + exif
    content = encoded(texture(64, 48), "JPEG")
    assert np.array_equal(pixels(content[:2] + segment + content[2:]), pixels(content))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "expected"), [(1, 1), (3, 8), (4, 1), (9, 1)])
def test_orientation_counts_in_both_byte_orders_and_only_as_a_short(order: str, kind: int, expected: int) -> None:
    assert read_orientation(exif_block(8, order, kind)[6:]) == expected


def test_orientation_is_found_after_another_entry() -> None:
    other, entry = struct.pack(">HHII", 0x0110, 2, 1, 0), struct.pack(">HHIHH", 0x0112, 3, 1, 8, 0)
    assert read_orientation(b"MM\x00*" + struct.pack(">IH", 8, 2) + other + entry) == 8


def test_gray_is_the_same_in_all_three_channels() -> None:
    gray = texture(60, 50).convert("L")
    for content in (encoded(gray, "PNG"), encoded(gray.convert("1"), "PNG"), encoded(gray, "JPEG")):
        result = pixels(content)
        assert (result == result[..., :1]).all()
    assert np.array_equal(pixels(encoded(gray, "PNG"))[..., 0], np.asarray(gray))


@pytest.mark.parametrize("subsampling", ["4:0:0", "4:2:0", "4:4:4"])
@pytest.mark.parametrize("box", [b"colr", b"free"])
def test_a_gray_avif_in_limited_range_has_the_levels_that_were_encoded(subsampling: str, box: bytes) -> None:
    """Luma of 16 to 235 stands for 0 to 255, whether the box or only the coded data says so."""
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    image = Pillow.fromarray(ramp)
    content = encoded(image, "AVIF", quality=100, speed=10, subsampling=subsampling, range="limited")
    difference = np.abs(pixels(content.replace(b"colrnclx", box + b"nclx"))[..., 0].astype(int) - ramp)
    assert difference.max() <= 1


def test_sixteen_bit_gray_is_divided_by_257() -> None:
    levels = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(pixels(encoded(Pillow.fromarray(levels), "PNG"))[..., 0], np.round(levels / 257))


def test_sixteen_bit_color_keeps_its_high_byte() -> None:
    row = b"\x00" + struct.pack(">6H", 0x0000, 0x1234, 0xFFFF, 0xABCD, 0x8000, 0x00FF)
    assert pixels(png(2, 1, 16, 2, row)).tolist() == [[[0x00, 0x12, 0xFF], [0xAB, 0x80, 0x00]]]


def test_alpha_is_composited_over_white() -> None:
    row = b"\x00" + bytes([10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 51])
    expected = [round(color * 0.2 + 255 * 0.8) for color in (0, 100, 200)]
    assert pixels(png(3, 1, 8, 6, row)).tolist() == [[[10, 20, 30], [255, 255, 255], expected]]


@pytest.mark.parametrize("format", ["WEBP", "AVIF"])
def test_what_is_fully_transparent_is_white_in_every_format(format: str) -> None:
    picture = texture(64, 64).convert("RGBA")
    picture.putalpha(0)
    options = {"lossless": True} if format == "WEBP" else {"quality": 100}
    assert (pixels(encoded(picture, format, **options)) == 255).all()


def test_compositing_is_exact_for_every_color_and_alpha() -> None:
    color, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    result = pixels(encoded(Pillow.fromarray(np.stack([color, alpha], -1)), "PNG"))[..., 0]
    exact = (color * alpha.astype(float) + 255.0 * (255 - alpha)) / 255
    assert np.abs(result - exact).max() <= 0.5


def test_a_palette_is_looked_up_and_its_transparent_entry_is_white() -> None:
    palette = png_chunk(b"PLTE", bytes([1, 2, 3, 40, 50, 60, 7, 8, 9]))
    rows = b"\x00" + bytes([0, 1, 2])
    assert pixels(png(3, 1, 8, 3, rows, palette)).tolist() == [[[1, 2, 3], [40, 50, 60], [7, 8, 9]]]
    half = png(3, 1, 8, 3, rows, palette, png_chunk(b"tRNS", bytes([255, 0, 51])))
    assert pixels(half).tolist() == [[[1, 2, 3], [255] * 3, [205, 206, 206]]]


@pytest.mark.parametrize(
    ("depth", "samples", "key", "expected"),
    [
        (1, 0b01000000, 0, [255, 255]),
        (2, 0b01100000, 1, [255, 170]),
        (4, 0x3C, 12, [51, 255]),
    ],
)
def test_a_transparent_gray_is_found_at_every_depth(depth: int, samples: int, key: int, expected: list[int]) -> None:
    content = png(2, 1, depth, 0, bytes([0, samples]), png_chunk(b"tRNS", struct.pack(">H", key)))
    assert pixels(content)[0, :, 0].tolist() == expected


def test_a_transparent_color_is_white_at_8_and_16_bits() -> None:
    key8 = png_chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))
    assert pixels(png(2, 1, 8, 2, b"\x00" + bytes([1, 2, 3, 1, 2, 4]), key8)).tolist() == [[[255] * 3, [1, 2, 4]]]
    key16 = png_chunk(b"tRNS", struct.pack(">H", 257 * 9))
    rows = b"\x00" + struct.pack(">2H", 257 * 9, 257 * 9 + 1)
    assert pixels(png(2, 1, 16, 0, rows, key16))[0, :, 0].tolist() == [255, 9]


def test_cmyk_is_read_as_adobe_writes_it() -> None:
    inks = Pillow.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(pixels(encoded(inks, "JPEG", quality=100)).astype(int) - [255, 0, 0]).max() <= 2
    black = Pillow.new("CMYK", (16, 16), (0, 0, 0, 255))
    assert pixels(encoded(black, "JPEG", quality=100)).max() <= 2


def test_a_color_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for format in ("JPEG", "PNG", "WEBP"):
        plain, tagged = (encoded(texture(40, 30), format, icc_profile=icc) for icc in (b"", profile))
        assert len(tagged) > len(plain)
        assert np.array_equal(pixels(plain), pixels(tagged))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "MPO", "PNG", "AVIF"])
def test_of_several_frames_the_first_is_the_image(format: str) -> None:
    first, second = Pillow.new("RGB", (300, 260), "red"), Pillow.new("RGB", (300, 260), "blue")
    image = decode(encoded(first, format, save_all=True, append_images=[second]), MAX_PIXELS)
    assert image.format == format
    assert np.abs(image.pixels.astype(int) - [255, 0, 0]).max() <= 4


def test_a_gif_frame_that_juts_out_of_the_screen_widens_it() -> None:
    content = bytearray(encoded(texture(40, 30).quantize(8), "GIF"))
    content[6:10] = struct.pack("<HH", 10, 10)
    assert pixels(bytes(content)).shape == (30, 40, 3)
