"""Thousands of generated files, decoded here and by libvips: the same pixels, or a row of the table of differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from tests.intake.variants import avif, gif, jpeg, png, webp
from tests.support.checkout import DOCS
from worker.errors import ErrorCode, SusyError
from worker.intake.decode import decode

MAX_PIXELS = 2_000_000
TOLERANCE = 2.0
"""Mean difference of levels: decoders round, and interpolate colors of lower resolution, in their own ways."""
FORMATS = {
    "JPEG": jpeg.variants,
    "PNG": png.variants,
    "GIF": gif.variants,
    "WebP": webp.variants,
    "AVIF": avif.variants,
}
FEWEST = 500
"""Files per format."""


@dataclass(frozen=True)
class Difference:
    """A row of the table: files for which this decoder and libvips differ as described."""

    format: str
    files: tuple[str, ...]
    """Patterns of their names."""
    here: str
    libvips: str
    """Of both: `decoded` or `refused`."""

    def covers(self, format: str, name: str, here: str, libvips: str) -> bool:
        same = (self.format, self.here, self.libvips) == (format, here, libvips)
        return same and any(fnmatchcase(name, pattern) for pattern in self.files)


def differences() -> Iterator[Difference]:
    for line in (DOCS / "intake-differences.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] in FORMATS:
            format, files, here, libvips, reason = cells
            assert reason
            yield Difference(format, tuple(part.strip("` ") for part in files.split("` `")), here, libvips)


def decoded_here(content: bytes) -> NDArray[np.uint8] | ErrorCode:
    try:
        return decode(content, MAX_PIXELS).pixels
    except SusyError as error:
        return error.code


def decoded_by_libvips(content: bytes) -> NDArray[np.uint8] | None:
    try:
        image = pyvips.Image.new_from_buffer(content, "", access="sequential").autorot()
        if image.width * image.height > MAX_PIXELS:
            return None
        if image.interpretation == "cmyk":
            inks = 255 - image.numpy().astype(np.uint16)  # by this formula, and not by a profile of libvips' own
            return (inks[..., :3] * inks[..., 3:] // 255).astype(np.uint8)
        image = image.colourspace("srgb")
        if image.hasalpha():
            image = image.flatten(background=[255, 255, 255])
        pixels = image.numpy().reshape(image.height, image.width, -1)
    except pyvips.Error:
        return None
    return np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3))


def verdict(content: bytes) -> tuple[str, str, bool]:
    """What came of a file here and in libvips, and whether it is the same."""
    ours, theirs = decoded_here(content), decoded_by_libvips(content)
    here = "refused" if isinstance(ours, ErrorCode) else "decoded"
    libvips = "refused" if theirs is None else "decoded"
    if isinstance(ours, ErrorCode) or theirs is None:
        return here, libvips, here == libvips
    same = ours.shape == theirs.shape and np.abs(ours.astype(int) - theirs).mean() < TOLERANCE
    return here, libvips, bool(same)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_decodes_as_in_libvips_or_is_listed(format: str) -> None:
    make: Callable[[], Iterator[tuple[str, bytes]]] = FORMATS[format]
    rows = [row for row in differences() if row.format == format]
    unused, unlisted, count = set(rows), [], 0
    for name, content in make():
        count += 1
        here, libvips, same = verdict(content)
        if same:
            continue
        covering = [row for row in rows if row.covers(format, name, here, libvips)]
        unused -= set(covering)
        if not covering:
            unlisted.append(f"{name}: {here} here, {libvips} by libvips")
    assert not unlisted, "\n".join(unlisted)
    assert not unused
    assert count > FEWEST
