"""How much memory decoding takes, measured in a process of its own."""

from __future__ import annotations

import struct
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from tests.support.commands import run
from tests.support.corpus import encoded, heif, png, png_chunk, texture
from worker.errors import ErrorCode, TransientError
from worker.intake.container import ENCODED_COPIES
from worker.intake.decode import Image, inspect, with_decoded
from worker.memory import MemoryBudget, Reservation

WIDTH, HEIGHT = 2400, 2000
MAX_PIXELS = 100_000_000

# The peak is read from /proc: the one that getrusage tells begins with that of the process that started this one.
SCRIPT = """
import sys
from pathlib import Path
from worker.errors import PermanentError
from worker.intake.decode import decode

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

first, *others = [Path(name).read_bytes() for name in sys.argv[1:]]
decode(first, 100_000_000)
before = peak()
for content in others:
    try:
        decode(content, 100_000_000)
    except PermanentError as error:
        print(error.code)
print(peak() - before)
"""


def peak_of(folder: Path, first: bytes, *contents: bytes) -> list[str]:
    """What decoding `contents` after `first` prints: codes of refusals, then the bytes that the process grew by."""
    paths = [folder / f"{number}" for number in range(len(contents) + 1)]
    for path, content in zip(paths, (first, *contents), strict=True):
        path.write_bytes(content)
    ended = run(sys.executable, "-c", SCRIPT, *paths)
    assert ended.code == 0, ended.stderr
    return ended.stdout.split()


def test_a_huge_header_costs_no_memory_in_any_format(tmp_path: Path) -> None:
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x08\x01\x00\x00;"
    huge_gif = b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + frame
    disposed_gif = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0, 0, 0) + b"!\xf9\x04\x08\x00\x00\x00\x00" + frame
    extended = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff" * 6 + bytes(8)
    huge_webp = b"RIFF" + struct.pack("<I", len(extended)) + extended
    huge_jpeg = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, 65_000, 65_000, 3) + bytes(9)
    huge_png = png(60_000, 60_000, 8, 2, b"\x00" * 100)
    files = [huge_png, huge_gif, disposed_gif, huge_webp, huge_jpeg]
    *codes, grown = peak_of(tmp_path, encoded(texture(64, 64), "JPEG"), *files)
    assert codes == ["too_many_pixels"] * len(files)
    assert int(grown) < 10_000_000


def _ramp() -> Pillow.Image:
    return Pillow.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")


def _with_alpha() -> Pillow.Image:
    picture = _ramp()
    picture.putalpha(Pillow.linear_gradient("L").resize(picture.size))
    return picture


def _rgb16() -> bytes:
    return png(WIDTH, HEIGHT, 16, 2, b"\x00" * (HEIGHT * (1 + 6 * WIDTH)), png_chunk(b"tRNS", b"\x00\x01" * 3))


PICTURES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encoded(_ramp(), "JPEG"),
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


@pytest.mark.parametrize("name", PICTURES)
def test_decoding_allocates_at_most_what_the_header_tells(name: str, tmp_path: Path) -> None:
    content = PICTURES[name]()
    warmup = {"HEIF": heif(texture(64, 64)), "AVIF": encoded(texture(64, 64), "AVIF")}
    (grown,) = peak_of(tmp_path, warmup.get(name, encoded(texture(64, 64), "JPEG")), content)
    assert 3 * WIDTH * HEIGHT < int(grown) < inspect(content, MAX_PIXELS).decoding_bytes


# Four threads decode the second file, six times in all, within a budget of so many bytes.
BUDGET_SCRIPT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from worker.intake.decode import with_decoded
from worker.memory import MemoryBudget

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

first, content = (Path(name).read_bytes() for name in sys.argv[2:])
with_decoded(first, 100_000_000, lambda image: None, MemoryBudget(10**9))
before = peak()
memory = MemoryBudget(int(sys.argv[1]))
with ThreadPoolExecutor(4) as pool:
    decoded = pool.map(lambda _: with_decoded(content, 100_000_000, lambda image: image.width, memory), range(6))
    assert len(list(decoded)) == 6
print(peak() - before)
"""


def bytes_needed(content: bytes) -> int:
    return inspect(content, MAX_PIXELS).decoding_bytes + ENCODED_COPIES * len(content)


def peak_of_four(folder: Path, content: bytes, budget: int) -> int:
    """Bytes that a process grows by when four threads share `budget`."""
    paths = [folder / "first", folder / "content"]
    for path, written in zip(paths, (encoded(texture(64, 64), "WEBP"), content), strict=True):
        path.write_bytes(written)
    ended = run(sys.executable, "-c", BUDGET_SCRIPT, str(budget), *paths)
    assert ended.code == 0, ended.stderr
    return int(ended.stdout)


@pytest.mark.parametrize("name", ["WebP", "progressive JPEG", "AVIF", "PNG"])
def test_four_threads_stay_within_the_budget(name: str, tmp_path: Path) -> None:
    content = PICTURES[name]()
    budget = bytes_needed(content) * 3 // 2
    assert peak_of_four(tmp_path, content, budget) < budget


def test_images_beyond_the_budget_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    content = PICTURES["WebP"]()
    assert peak_of_four(tmp_path, content, 1) < bytes_needed(content)


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
