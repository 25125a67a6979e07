"""Decoding: what is refused, and with which code."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from tests.support.corpus import Case, encoded, png, texture
from worker.errors import ErrorCode, SusyError, TransientError
from worker.intake.decode import decode

MAX_PIXELS = 100_000_000


def pixels(content: bytes) -> np.ndarray:
    return decode(content, MAX_PIXELS).pixels


def refusal(content: bytes, max_pixels: int = MAX_PIXELS) -> SusyError:
    with pytest.raises(SusyError) as caught:
        decode(content, max_pixels)
    return caught.value


def test_the_pixel_cap_is_exact_in_every_format() -> None:
    for format in ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "MPO"):
        content = encoded(texture(50, 40), format)
        assert decode(content, 2000).width == 50
        error = refusal(content, 1999)
        assert error.code == ErrorCode.TOO_MANY_PIXELS
        assert "SUSY_MAX_PIXELS" in error.message


def test_a_text_bomb_is_never_unfolded_and_the_image_is_decoded(corpus: list[Case]) -> None:
    bomb = next(case for case in corpus if case.name == "text-bomb.png")
    assert np.array_equal(pixels(bomb.path.read_bytes()), np.asarray(texture(300, 260)))


@pytest.mark.parametrize(
    "content",
    [
        b"GIF8",
        b"\x89PN",
        b"\xff",
        b"RIFF\x00\x00",
        b"\x00\x00\x00\x1cft",
    ],
)
def test_a_file_cut_within_its_signature_is_truncated(content: bytes) -> None:
    assert refusal(content).code == ErrorCode.TRUNCATED


def test_a_png_whose_pixels_end_early_though_the_file_does_not_is_corrupt() -> None:
    assert refusal(png(100, 100, 8, 2, b"\x00" * 1000)).code == ErrorCode.CORRUPT


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_a_wrong_checksum_of_a_chunk_that_matters_is_corrupt(name: bytes) -> None:
    assert refusal(with_wrong_checksum(encoded(texture(30, 30).quantize(8), "PNG"), name)).code == ErrorCode.CORRUPT


@pytest.mark.parametrize("name", [b"IDAT", b"IEND"])
def test_a_wrong_checksum_after_the_last_pixel_does_not_matter(name: bytes) -> None:
    content = encoded(texture(30, 30).quantize(8), "PNG")
    assert np.array_equal(pixels(with_wrong_checksum(content, name)), pixels(content))


def test_a_wrong_checksum_before_the_last_pixel_is_corrupt() -> None:
    content = encoded(texture(300, 260), "PNG")
    assert content.count(b"IDAT") > 1
    assert refusal(with_wrong_checksum(content, b"IDAT")).code == ErrorCode.CORRUPT


def with_wrong_checksum(content: bytes, name: bytes) -> bytes:
    at = content.index(name)
    (length,) = struct.unpack_from(">I", content, at - 4)
    changed = bytearray(content)
    changed[at + 4 + length] ^= 1
    return bytes(changed)


def test_a_wrong_checksum_of_a_comment_does_not_matter() -> None:
    content = encoded(texture(30, 30), "PNG")
    comment = b"\x00\x00\x00\x04tEXtabcd" + struct.pack(">I", zlib.crc32(b"wrong"))
    assert np.array_equal(pixels(content[:33] + comment + content[33:]), np.asarray(texture(30, 30)))


@pytest.mark.parametrize("brand", [b"mp42", b"isom", b"crx "])
def test_a_container_of_another_kind_is_unsupported(brand: bytes) -> None:
    content = b"\x00\x00\x00\x14ftyp" + brand + b"\x00" * 4 + brand + b"\x00\x00\x00\x08free"
    assert refusal(content).code == ErrorCode.UNSUPPORTED_FORMAT


def test_a_jpeg_of_12_bits_or_of_lossless_kind_is_unsupported() -> None:
    content = bytearray(encoded(texture(30, 30), "JPEG"))
    at = content.index(b"\xff\xc0")
    twelve, lossless = bytearray(content), bytearray(content)
    twelve[at + 4] = 12
    lossless[at + 1] = 0xC3
    assert refusal(bytes(twelve)).code == refusal(bytes(lossless)).code == ErrorCode.UNSUPPORTED_FORMAT


def test_a_jpeg_that_lacks_nothing_but_bytes_after_its_end_mark_is_whole() -> None:
    content = encoded(texture(64, 64), "JPEG")
    assert np.array_equal(pixels(content + b"trailing bytes, as some cameras leave"), pixels(content))


def test_no_memory_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr("worker.intake.decode._write_rgb", exhausted)
    error = refusal(encoded(texture(30, 30), "PNG"))
    assert isinstance(error, TransientError)
    assert error.code == ErrorCode.OUT_OF_MEMORY
