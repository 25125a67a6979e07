"""What is judged is what viewers show, and what viewers show is judged."""

from __future__ import annotations

import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.intake.variants.avif import (
    AUXILIARY_ALPHA,
    Item,
    av1_item,
    avif_picture,
    box,
    clap,
    heif_file,
    imir,
    irot,
    ispe,
    pixi,
)
from tests.intake.variants.gif import gif_file, gif_frame
from tests.intake.variants.jpeg import jpeg_segment
from tests.intake.variants.png import apng_frame, png_file, png_rows, png_samples
from tests.intake.variants.webp import anmf, riff, vp8x, webp_chunk
from tests.support.corpus import encoded, exif_block, heif, png, png_chunk, texture
from worker.errors import ErrorCode, PermanentError
from worker.intake.decode import decode, inspect

MAX_PIXELS = 1_000_000
PICTURE = texture(64, 48)


def pixels(content: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    return decode(content, max_pixels).pixels


def refusal(content: bytes, max_pixels: int = MAX_PIXELS) -> ErrorCode:
    with pytest.raises(PermanentError) as caught:
        decode(content, max_pixels)
    return caught.value.code


def outcome(content: bytes, whole: np.ndarray) -> str:
    try:
        return "whole" if np.array_equal(pixels(content), whole) else "other pixels"
    except PermanentError as error:
        return error.code


JPEGS = {
    "baseline": encoded(PICTURE, "JPEG"),
    "progressive": encoded(PICTURE, "JPEG", progressive=True),
    "restarts": encoded(PICTURE, "JPEG", restart_marker_rows=1),
    "gray": encoded(PICTURE.convert("L"), "JPEG"),
    "cmyk": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "flat": encoded(Image.new("RGB", (64, 48), (128, 128, 128)), "JPEG"),
}


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_without_an_end_marker_is_whole_if_its_pixels_are(name: str) -> None:
    content = JPEGS[name]
    for ending in (b"", b"\xff", b"\xff\xff", b"\x00" * 50):
        assert np.array_equal(pixels(content[:-2] + ending), pixels(content))


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_lacks_pixels_is_truncated_wherever_it_is_cut(name: str) -> None:
    content, whole = JPEGS[name], pixels(JPEGS[name])
    start = content.rindex(b"\xff\xda")
    for end in range(start + 20, len(content) - 2):
        assert outcome(content[:end], whole) in ("whole", ErrorCode.TRUNCATED), end


@pytest.mark.parametrize("name", ["baseline", "restarts", "gray", "cmyk"])
def test_a_jpeg_that_lacks_pixels_is_truncated_though_its_end_marker_is_there(name: str) -> None:
    content = JPEGS[name]
    start = content.rindex(b"\xff\xda")
    for share in (0.2, 0.5, 0.7):
        end = start + round((len(content) - start) * share)
        assert refusal(content[:end].rstrip(b"\xff") + b"\xff\xd9") == ErrorCode.TRUNCATED


@pytest.mark.parametrize("code", [0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xFE])
@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_short_jpeg_segment_is_skipped(code: int, length: int) -> None:
    content = JPEGS["baseline"]
    segment = bytes((0xFF, code, 0, length))
    assert np.array_equal(pixels(content[:20] + segment + content[20:]), pixels(content))


def test_the_first_exif_block_counts() -> None:
    content = JPEGS["baseline"]
    upright, turned = (jpeg_segment(0xE1, exif_block(orientation)) for orientation in (1, 6))
    broken = jpeg_segment(0xE1, b"Exif\x00\x00II*\x00")
    for segments in (upright + turned, broken + turned):
        assert pixels(content[:20] + segments + content[20:]).shape == (48, 64, 3)
    assert pixels(content[:20] + turned + upright + content[20:]).shape == (64, 48, 3)


def test_a_png_or_gif_without_its_end_is_whole_if_its_pixels_are() -> None:
    picture = png_file(png_samples(8, 2), 8, 2)
    for lost in (1, 4, 12, 13, 16):
        assert np.array_equal(pixels(picture[:-lost]), pixels(picture))
    animation = gif_file(61, 43, gif_frame(61, 43))
    for lost in (1, 2, 3):
        assert np.array_equal(pixels(animation[:-lost]), pixels(animation))
    assert refusal(picture[:-200]) == refusal(animation[:-200]) == ErrorCode.TRUNCATED


def test_a_transparent_color_of_16_bits_is_compared_at_16_bits() -> None:
    samples = np.array([[[0x1000, 0x1000, 0x1000], [0x1000, 0x1000, 0x1001], [0x1001, 0x1000, 0x1000]]])
    content = png(3, 1, 16, 2, png_rows(samples, 16), png_chunk(b"tRNS", struct.pack(">3H", *[0x1000] * 3)))
    assert pixels(content)[0].tolist() == [[255] * 3, [0x10] * 3, [0x10] * 3]


@pytest.mark.parametrize("name", [b"tRNS", b"tEXt", b"s\x01IT", b"abCd", b"gAMA", b"eXIf", b"acTL"])
def test_a_faulty_ancillary_chunk_is_ignored(name: bytes) -> None:
    samples = png_samples(8, 2)
    faulty = png_chunk(name, b"\x00\x01\x02")
    assert np.array_equal(pixels(png_file(samples, 8, 2, faulty)), samples)
    assert np.array_equal(pixels(png_file(samples, 8, 2, faulty[:-1] + bytes((faulty[-1] ^ 1,)))), samples)


def test_apples_variant_of_png_is_unsupported_by_name() -> None:
    content = png_file(png_samples(8, 2), 8, 2)
    with pytest.raises(PermanentError, match="CgBI") as caught:
        decode(content[:8] + png_chunk(b"CgBI", b"P\x00 \x02") + content[8:], MAX_PIXELS)
    assert caught.value.code == ErrorCode.UNSUPPORTED_FORMAT


def test_the_rows_of_a_png_that_are_missing_are_not_judged_as_black() -> None:
    samples = png_samples(8, 2)
    rows = png_rows(samples, 8)
    stride = len(rows) // samples.shape[0]
    short = png(samples.shape[1], samples.shape[0], 8, 2, rows[:-stride])
    assert refusal(short) == ErrorCode.CORRUPT
    black = np.zeros_like(samples)
    assert np.array_equal(pixels(png_file(black, 8, 2)), black)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (6, 4), (20, 10)])
def test_what_the_first_frame_does_not_cover_is_white(left: int, top: int) -> None:
    images = encoded(PICTURE, "WEBP", lossless=True)[12:]
    control = webp_chunk(b"ANIM", b"\x20\x40\x80\xff\x00\x00")
    samples = png_samples(8, 2, 30, 20)
    default = png_file(png_samples(8, 2, 90, 60), 8, 2)
    animation = default[:33] + png_chunk(b"acTL", struct.pack(">II", 1, 0)) + default[33:-12]
    for content, width, height in (
        (gif_file(90, 60, gif_frame(30, 20, left, top), background=7), 30, 20),
        (riff(vp8x(90, 60, 0x02), control, anmf(left, top, 64, 48, images)), 64, 48),
        (animation + apng_frame(0, left, top, samples) + default[-12:], 30, 20),
    ):
        result = pixels(content)
        assert result.shape == (60, 90, 3)
        frame = result[top : top + height, left : left + width].copy()
        assert (frame != 255).any()
        result[top : top + height, left : left + width] = 255
        assert (result == 255).all()


CONFIG, DATA = avif_picture(PICTURE)
PLAIN = (ispe(64, 48), pixi(8, 8, 8), CONFIG)


def avif(*properties: bytes) -> bytes:
    return heif_file([Item(1, b"av01", DATA, (*PLAIN, *properties))])


@pytest.mark.parametrize(
    ("numbers", "edges"),
    [
        ((64, 1, 48, 1, 0, 1, 0, 1), (0, 0, 64, 48)),
        ((32, 1, 24, 1, -16, 1, -12, 1), (0, 0, 32, 24)),
        ((32, 1, 24, 1, 16, 1, 12, 1), (32, 24, 64, 48)),
        ((64, 2, 48, 2, 0, 1, 0, 1), (16, 12, 48, 36)),
        ((31, 1, 23, 1, -33, 2, -25, 2), (0, 0, 31, 23)),
    ],
)
def test_an_avif_is_cropped_by_its_clean_aperture(numbers: tuple[int, ...], edges: tuple[int, int, int, int]) -> None:
    whole, (left, top, right, bottom) = pixels(avif()), edges
    cropped = whole[top:bottom, left:right]
    assert np.array_equal(pixels(avif(clap(*numbers))), cropped)
    assert np.array_equal(pixels(avif(clap(*numbers), irot(1))), np.rot90(cropped))
    assert np.array_equal(pixels(avif(clap(*numbers), imir(1))), cropped[:, ::-1])
    assert np.array_equal(pixels(avif(clap(*numbers), irot(3), imir(0))), np.rot90(cropped, 3)[::-1])
    header = inspect(avif(clap(*numbers), irot(1)), MAX_PIXELS)
    assert (header.width, header.height) == (bottom - top, right - left)


@pytest.mark.parametrize(
    "numbers",
    [
        (32, 0, 24, 1, 0, 1, 0, 1),
        (32, -1, 24, 1, 0, 1, 0, 1),
        (0, 1, 24, 1, 0, 1, 0, 1),
        (-32, 1, 24, 1, 0, 1, 0, 1),
        (66, 1, 24, 1, 0, 1, 0, 1),
        (32, 1, 24, 1, 17, 1, 0, 1),
        (32, 1, 24, 1, 0, 1, -13, 1),
        (32, 1, 24, 1, 1, 2, 0, 1),
        (33, 2, 24, 1, 0, 1, 0, 1),
    ],
)
def test_a_clean_aperture_that_is_malformed_or_outside_of_the_frame_is_corrupt(numbers: tuple[int, ...]) -> None:
    assert refusal(avif(clap(*numbers))) == ErrorCode.CORRUPT


@pytest.mark.parametrize("tail", [b"\n", b"\x00" * 3, b"trailing bytes", bytes(64), b"\x00\x00\x00\x04free"])
def test_bytes_after_the_last_box_are_ignored(tail: bytes) -> None:
    assert np.array_equal(pixels(avif() + tail), pixels(avif()))


def test_an_alpha_without_a_size_has_that_of_the_color() -> None:
    config, data = avif_picture(Image.linear_gradient("L").resize(PICTURE.size))
    color = Item(1, b"av01", DATA, PLAIN)

    def with_alpha(*properties: bytes) -> bytes:
        return heif_file([color, Item(2, b"av01", data, properties, ((b"auxl", (1,)),))])

    whole = pixels(with_alpha(ispe(64, 48), pixi(8), config, AUXILIARY_ALPHA))
    assert (whole != pixels(avif())).any()
    assert np.array_equal(pixels(with_alpha(pixi(8), config, AUXILIARY_ALPHA)), whole)
    assert np.array_equal(pixels(with_alpha(config, AUXILIARY_ALPHA) + b"\n"), whole)


def test_coded_frames_larger_than_the_container_declares_are_refused_before_they_are_decoded() -> None:
    config, data = avif_picture(texture(300, 200))
    declared = (ispe(64, 48), pixi(8, 8, 8), config)
    hidden = heif_file([Item(1, b"av01", data, declared)])
    behind = heif_file(
        [Item(1, b"av01", DATA, PLAIN), Item(2, b"av01", data, (*declared, AUXILIARY_ALPHA), ((b"auxl", (1,)),))]
    )
    body = struct.pack(">BBBBHH", 0, 0, 0, 0, 64, 48)
    grid = heif_file(
        [
            Item(1, b"grid", body, (ispe(64, 48), pixi(8, 8, 8)), ((b"dimg", (2,)),), in_meta=True),
            Item(2, b"av01", data, declared),
        ]
    )
    sequence = encoded(texture(300, 200), "AVIF", speed=10, save_all=True, append_images=[texture(300, 200)])
    header = sequence.index(b"tkhd")
    small = bytearray(sequence)
    size = sequence.index(struct.pack(">II", 300 << 16, 200 << 16), header)
    small[size : size + 8] = struct.pack(">II", 64 << 16, 48 << 16)
    hevc, coded = av1_item(heif(texture(300, 200)))
    phone = heif_file([Item(1, b"hvc1", coded, (ispe(64, 48), pixi(8, 8, 8), hevc))], brand=b"heic")
    for content in (hidden, behind, grid, bytes(small), phone):
        assert refusal(content, max_pixels=20_000) == ErrorCode.TOO_MANY_PIXELS


def test_a_heic_is_decoded_turned_and_capped_as_other_formats_are() -> None:
    content = heif(PICTURE, quality=95)
    image = decode(content, 64 * 48)
    assert (image.format, image.width, image.height) == ("HEIF", 64, 48)
    assert np.abs(image.pixels.astype(int) - np.asarray(PICTURE)).mean() < 12
    assert refusal(content, 64 * 48 - 1) == ErrorCode.TOO_MANY_PIXELS
    hevc, coded = av1_item(heif(texture(128, 64)))
    properties = (ispe(128, 64), pixi(8, 8, 8), hevc)

    def single(*more: bytes) -> bytes:
        return heif_file([Item(1, b"hvc1", coded, (*properties, *more))], brand=b"heic")

    whole = pixels(single())
    assert np.array_equal(pixels(single(irot(1))), np.rot90(whole))
    assert np.array_equal(pixels(single(imir(1))), whole[:, ::-1])
    assert np.array_equal(pixels(single(clap(64, 1, 32, 1, -32, 1, -16, 1))), whole[:32, :64])
    assert refusal(single(clap(64, 1, 32, 1, 40, 1, 0, 1))) == ErrorCode.CORRUPT


def test_a_heic_with_alpha_or_in_a_grid_is_decoded() -> None:
    transparent = PICTURE.convert("RGBA")
    transparent.putalpha(0)
    assert (pixels(heif(transparent)) == 255).all()
    picture = texture(200, 150)
    grid = decode(heif(picture, tile_size=64, quality=95), MAX_PIXELS)
    assert np.abs(grid.pixels.astype(int) - np.asarray(picture)).mean() < 12


def test_without_its_extra_a_heic_is_unsupported_and_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    content = heif(PICTURE)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PermanentError, match=r"susy-worker\[heif\]") as caught:
        decode(content, MAX_PIXELS)
    assert caught.value.code == ErrorCode.UNSUPPORTED_FORMAT


def test_the_compressed_rows_of_a_png_need_no_checksum() -> None:
    samples = png_samples(8, 2)
    squeezed = zlib.compress(png_rows(samples, 8))
    whole = png_file(samples, 8, 2)
    head = whole[: whole.index(b"IDAT") - 4]
    for body in (squeezed[:-4], squeezed[:-2], squeezed[:-1] + bytes((squeezed[-1] ^ 1,))):
        assert np.array_equal(pixels(head + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")), samples)


HEVC_CONFIG, HEVC_DATA = av1_item(heif(texture(128, 64)))
HEVC = (ispe(128, 64), pixi(8, 8, 8))
MANY_SETS = box(b"hvcC", HEVC_CONFIG[8:30], b"\xff", (b"\x20\xff\xff" + bytes(2 * 65_535)) * 255)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "items",
    [
        pytest.param([Item(1, b"hvc1", HEVC_DATA, (*HEVC, MANY_SETS))], id="parameter sets"),
        pytest.param([Item(1, b"hvc1", bytes(4_000_000), (*HEVC, HEVC_CONFIG))], id="NAL units"),
        pytest.param([Item(1, b"av01", b"\x12\x00" * 2_000_000, PLAIN)], id="OBUs"),
        pytest.param([Item(1, b"av01", DATA * 500, PLAIN)], id="frames"),
        pytest.param(
            [
                Item(1, b"grid", bytes(8), (ispe(64, 48), pixi(8, 8, 8)), ((b"dimg", (2,) * 65_025),), in_meta=True),
                Item(2, b"av01", DATA, PLAIN),
            ],
            id="one cell 65,025 times",
        ),
    ],
)
def test_an_image_of_countless_parts_is_refused_before_it_is_decoded(items: list[Item]) -> None:
    with pytest.raises(PermanentError) as caught:
        inspect(heif_file(items, brand=b"heic" if items[0].kind == b"hvc1" else b"avif"), 100_000_000)
    assert caught.value.code == ErrorCode.CORRUPT
