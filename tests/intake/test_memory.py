"""How much memory decoding takes, measured in a process of its own."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Pillow

from tests.support.corpus import encoded, heif, png, png_chunk, texture
from worker.intake.decode import inspect

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
    command = [sys.executable, "-c", SCRIPT, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


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
