"""What the container of an encoded image declares, and the limits that are checked on it before decoding."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from worker.errors import ErrorCode, PermanentError

UPRIGHT = 1
"""The EXIF orientation of an image that declares none."""
ENCODED_COPIES = 3
"""How many times the encoded image is in memory at most: as it was read, rewritten, and joined for the decoder."""
FIXED_BYTES = 16_000_000
"""What decoding allocates whatever the size of the image: tables, buffers and one strip of pixels."""


Picture = Pillow.Image | NDArray[np.uint8]
"""A decoded picture as it is stored: Pillow's, or uint8 [h, w, 4] of red, green, blue and a byte without meaning."""


@dataclass(frozen=True)
class Container:
    """An encoded image that has been inspected, but not decoded."""

    format: str
    """`JPEG`, `MPO`, `PNG`, `GIF`, `WEBP`, `AVIF` or `HEIF`."""
    canvas: tuple[int, int]
    """Width and height of the image in pixels as stored, before `orientation` is applied."""
    picture: tuple[int, int, int, int]
    """Left, top, width and height of the picture that `load` returns, on the canvas. What lies outside of the canvas
    is not shown; what the picture does not cover is transparent."""
    loading_bytes: int
    """Upper bound of the bytes that `load` allocates at once, its result included."""
    loaded_bytes: int
    """Upper bound of the bytes that stay allocated with the picture that `load` returns."""
    load: Callable[[], Picture]
    """Decode the picture. Raises any exception for data that cannot be decoded, or where pixels are missing."""
    orientation: int = UPRIGHT
    """EXIF orientation, 1 to 8."""
    animated: bool = False
    """The file has more frames than the one that is decoded."""
    jpeg_quality: int | None = None
    """Quality of the luminance of a JPEG on libjpeg's scale, 1 to 100."""
    is_result: bool = False
    """What `load` returns is an array that covers the canvas: the image is a view of it, and nothing is copied."""
    complete: bool = True
    """The file continues after the image's data: missing pixels are then a contradiction, not a cut."""

    @property
    def is_turned(self) -> bool:
        """Whether the orientation exchanges width and height."""
        return self.orientation >= 5

    @property
    def width(self) -> int:
        """Width of the upright image in pixels."""
        return self.canvas[self.is_turned]

    @property
    def height(self) -> int:
        """Height of the upright image in pixels."""
        return self.canvas[not self.is_turned]

    @property
    def result_bytes(self) -> int:
        """Bytes of the decoded image: 3 per pixel, or 4 where it is the array that `load` returns."""
        return (4 if self.is_result else 3) * self.width * self.height

    @property
    def decoding_bytes(self) -> int:
        """Upper bound of the bytes that decoding allocates at once, the result included and the encoded image not."""
        converting = self.result_bytes + (0 if self.is_result else self.loaded_bytes)
        return max(self.loading_bytes, converting) + FIXED_BYTES


def require_size(width: int, height: int, max_pixels: int) -> None:
    """Raise `PermanentError` unless an image of the declared size may be decoded."""
    if width <= 0 or height <= 0:
        raise corrupt("the header declares an image without pixels")
    if width * height > max_pixels:
        raise too_many_pixels(f"the image has {width} × {height} pixels", max_pixels)


def too_many_pixels(what: str, max_pixels: int) -> PermanentError:
    """The image is larger than permitted."""
    return PermanentError(
        ErrorCode.TOO_MANY_PIXELS,
        f"{what}, more than SUSY_MAX_PIXELS ({max_pixels}); make it smaller, or raise the limit",
    )


def truncated(what: str) -> PermanentError:
    """The file ends before the image does."""
    return PermanentError(ErrorCode.TRUNCATED, f"{what}; upload the image again")


def corrupt(what: str) -> PermanentError:
    """The file contradicts itself."""
    return PermanentError(ErrorCode.CORRUPT, f"{what}; export the image again")


def unsupported(what: str, remedy: str) -> PermanentError:
    """The file is of an allowed format, but of a variant that is not decoded."""
    return PermanentError(ErrorCode.UNSUPPORTED_FORMAT, f"{what}; {remedy}")


def read_orientation(tiff: bytes) -> int:
    """The orientation, 1 to 8, in an EXIF block (without its prefix); `UPRIGHT` where there is no valid one.

    As in browsers, only a value of type SHORT in the first directory counts.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == 0x0112:
                return int(value) if kind == 3 and UPRIGHT <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT
