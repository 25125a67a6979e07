"""What the container of an image announces, and the limits that are checked on it."""

from __future__ import annotations

from dataclasses import dataclass

from worker.errors import ErrorCode, PermanentError
from worker.intake.orientation import UPRIGHT
from worker.intake.rgb import ColorKey


@dataclass(frozen=True)
class Announced:
    """An image that has been looked at, but not decoded."""

    format: str
    """`JPEG`, `MPO`, `PNG`, `GIF`, `WEBP` or `AVIF`."""
    essence: bytes
    """A file of the same format, reduced to what its first image is made of."""
    orientation: int = UPRIGHT
    """EXIF orientation, 1..8."""
    key: ColorKey | None = None
    """The color that counts as transparent, where a format has one."""
    complete: bool = True
    """The file has its end mark. Without one, pixels may still be complete: the decoder tells."""


def require_size(width: int, height: int, max_pixels: int) -> None:
    """Raise `PermanentError` unless the announced size is one that may be decoded."""
    if width <= 0 or height <= 0:
        raise corrupt("the header announces an image without pixels")
    if width * height > max_pixels:
        raise PermanentError(
            ErrorCode.TOO_MANY_PIXELS,
            f"the image has {width} × {height} pixels, more than SUSY_MAX_PIXELS ({max_pixels}); "
            "make it smaller, or raise the limit",
        )


def truncated(what: str) -> PermanentError:
    """The image ends too early; `what` says where."""
    return PermanentError(ErrorCode.TRUNCATED, f"{what}; upload the image again")


def corrupt(what: str) -> PermanentError:
    """The image contradicts itself; `what` says how."""
    return PermanentError(ErrorCode.CORRUPT, f"{what}; export the image again")


def unsupported(what: str, remedy: str) -> PermanentError:
    """An image of an allowed format, in a kind of it that is not."""
    return PermanentError(ErrorCode.UNSUPPORTED_FORMAT, f"{what}; {remedy}")
