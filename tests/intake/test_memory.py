"""How much memory decoding takes, measured in a process of its own."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

from PIL import Image as Pillow

from tests.support.corpus import encoded, png, texture

SCRIPT = """
import resource, sys
from pathlib import Path
from worker.errors import PermanentError
from worker.intake.decode import decode

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

first, *others = [Path(name).read_bytes() for name in sys.argv[1:]]
decode(first, 100_000_000)
before = peak()
for content in others:
    try:
        image = decode(content, 100_000_000)
    except PermanentError as error:
        print(error.code)
print(peak() - before)
"""


def peak_of(folder: Path, *contents: bytes) -> list[str]:
    """What decoding `contents` prints: the codes of refusals, and at last the bytes that the process grew by."""
    paths = [folder / f"{number}" for number in range(len(contents) + 1)]
    for path, content in zip(paths, (encoded(texture(64, 64), "JPEG"), *contents), strict=True):
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
    *codes, grown = peak_of(tmp_path, *files)
    assert codes == ["too_many_pixels"] * len(files)
    assert int(grown) < 10_000_000


def test_a_twelve_megapixel_jpeg_needs_little_more_than_its_pixels(tmp_path: Path) -> None:
    photo = Pillow.linear_gradient("L").resize((4000, 3000)).convert("RGB")
    (grown,) = peak_of(tmp_path, encoded(photo, "JPEG"))
    assert int(grown) < 8 * 4000 * 3000  # 4 bytes a pixel inside the decoder, 3 in the result
