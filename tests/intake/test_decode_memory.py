"""How much memory decoding takes, measured in processes of its own."""

from __future__ import annotations

import functools
import struct
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags
from PIL import Image as Pillow

from tests.intake import peak
from tests.intake.peak import MAX_PIXELS
from tests.support.checkout import CHECKOUT
from tests.support.commands import Processes, environment
from tests.support.corpus import encoded, heif, png, png_chunk, texture
from tests.support.forks import ForkServer
from worker.errors import ErrorCode, TransientError
from worker.intake.container import ENCODED_COPIES
from worker.intake.decode import Image, inspect, with_decoded
from worker.machine.memory import MemoryBudget, Reservation

WIDTH, HEIGHT = 2400, 2000


class Measured:
    """Processes whose memory is measured, each a fork of one that has imported no more than what decodes."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def print(self, target: Callable[[], None], *arguments: object, files: Iterable[bytes]) -> list[str]:
        """What a function of tests/intake/peak.py prints, given `arguments` and the paths of `files`."""
        paths = []
        for number, content in enumerate(files):
            paths.append(self._processes.folder / f"{number}")
            paths[-1].write_bytes(content)
        process = self._processes.fork((target.__module__, target.__name__), *map(str, arguments), *paths)
        assert process.wait() == 0, process.output()
        return process.output().split()


@pytest.fixture(scope="module")
def decoders() -> Iterator[ForkServer]:
    server = ForkServer(CHECKOUT, environment(), [peak.__name__])
    yield server
    server.close()


@pytest.fixture
def measured(decoders: ForkServer, tmp_path: Path) -> Measured:
    return Measured(Processes({}, tmp_path, decoders))


def test_a_huge_header_costs_no_memory_in_any_format(measured: Measured) -> None:
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x08\x01\x00\x00;"
    huge_gif = b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + frame
    disposed_gif = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0, 0, 0) + b"!\xf9\x04\x08\x00\x00\x00\x00" + frame
    extended = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff" * 6 + bytes(8)
    huge_webp = b"RIFF" + struct.pack("<I", len(extended)) + extended
    huge_jpeg = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, 65_000, 65_000, 3) + bytes(9)
    huge_png = png(60_000, 60_000, 8, 2, b"\x00" * 100)
    files = [huge_png, huge_gif, disposed_gif, huge_webp, huge_jpeg]
    *codes, grown = measured.print(peak.decode_each, files=[encoded(texture(64, 64), "JPEG"), *files])
    assert codes == ["too_many_pixels"] * len(files)
    assert int(grown) < 10_000_000


def _ramp() -> Pillow.Image:
    return Pillow.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")


def _with_alpha() -> Pillow.Image:
    picture = _ramp()
    picture.putalpha(Pillow.linear_gradient("L").resize(picture.size))
    return picture


def _turned() -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


def _rgb16() -> bytes:
    return png(WIDTH, HEIGHT, 16, 2, b"\x00" * (HEIGHT * (1 + 6 * WIDTH)), png_chunk(b"tRNS", b"\x00\x01" * 3))


PICTURES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encoded(_ramp(), "JPEG"),
    "turned JPEG": lambda: encoded(_ramp(), "JPEG", exif=_turned()),
    "JPEG without end marker": lambda: encoded(_ramp(), "JPEG")[:-2],
    "progressive JPEG": lambda: encoded(_ramp(), "JPEG", progressive=True, subsampling=0)[:-2],
    "progressive CMYK": lambda: encoded(_ramp().convert("CMYK"), "JPEG", progressive=True),
    "PNG": lambda: encoded(_with_alpha(), "PNG", compress_level=1),
    "PNG of 16 bits": _rgb16,
    "GIF": lambda: encoded(_ramp().quantize(64), "GIF"),
    "WebP": lambda: encoded(_with_alpha(), "WEBP", method=0),
    "AVIF": lambda: encoded(_with_alpha(), "AVIF", speed=10, subsampling="4:4:4"),
    "HEIF": lambda: heif(_with_alpha(), quality=10),
}


@functools.cache
def picture(name: str) -> bytes:
    """One of `PICTURES`."""
    return PICTURES[name]()


@pytest.mark.parametrize("name", PICTURES)
def test_decoding_allocates_at_most_what_the_header_tells(name: str, measured: Measured) -> None:
    content = picture(name)
    warmup = {"HEIF": heif(texture(64, 64)), "AVIF": encoded(texture(64, 64), "AVIF")}
    first = warmup.get(name, encoded(texture(64, 64), "JPEG"))
    (grown,) = measured.print(peak.decode_each, files=[first, content])
    assert 3 * WIDTH * HEIGHT < int(grown) < inspect(content, MAX_PIXELS).decoding_bytes


def bytes_needed(content: bytes) -> int:
    return inspect(content, MAX_PIXELS).decoding_bytes + ENCODED_COPIES * len(content)


def peak_of_four(measured: Measured, content: bytes, budget: int) -> int:
    """Bytes that a process grows by when four threads share `budget`."""
    (grown,) = measured.print(peak.decode_in_four_threads, budget, files=[encoded(texture(64, 64), "WEBP"), content])
    return int(grown)


@pytest.mark.parametrize("name", ["WebP", "progressive JPEG", "AVIF", "PNG"])
def test_four_threads_stay_within_the_budget(name: str, measured: Measured) -> None:
    content = picture(name)
    budget = bytes_needed(content) * 3 // 2
    assert peak_of_four(measured, content, budget) < budget


def test_images_beyond_the_budget_are_decoded_one_at_a_time(measured: Measured) -> None:
    content = picture("WebP")
    assert peak_of_four(measured, content, 1) < bytes_needed(content)


def test_the_pixels_are_freed_before_their_share_is_given_back() -> None:
    memory, alive = MemoryBudget(10**9), []

    class Watching(MemoryBudget):
        @contextmanager
        def reserve(self, *args: Any, **options: Any) -> Iterator[Reservation]:
            with memory.reserve(*args, **options) as reservation:
                yield reservation
                alive.append(pixels() is not None)

    def use(image: Image) -> int:
        nonlocal pixels
        pixels = weakref.ref(image.pixels)
        assert memory.used >= image.pixels.nbytes
        return image.width

    pixels: Callable[[], object] = lambda: None  # noqa: E731
    assert with_decoded(encoded(texture(300, 200), "PNG"), MAX_PIXELS, use, Watching(0)) == 300
    assert alive == [False]
    assert memory.used == 0


def test_an_error_that_is_kept_does_not_keep_the_pixels() -> None:
    memory, pixels = MemoryBudget(10**9), []

    def fail(image: Image) -> None:
        tiles = image.pixels[:10]
        pixels.append(weakref.ref(image.pixels))
        try:
            dict[int, int]()[len(tiles)]
        except KeyError as error:
            raise TransientError(ErrorCode.INFERENCE_FAILED, "the network failed") from error

    with pytest.raises(TransientError) as kept:
        with_decoded(encoded(texture(300, 200), "PNG"), MAX_PIXELS, fail, memory)
    assert kept.value.code is ErrorCode.INFERENCE_FAILED
    assert pixels[0]() is None
    assert memory.used == 0
