"""From encoded bytes to RGB pixels, safely: the bytes come from strangers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL import Image as Pillow
from PIL.ImageFile import ImageFile

from worker.errors import ErrorCode, PermanentError, SusyError, TransientError
from worker.intake.announced import Announced, corrupt, require_size, truncated
from worker.intake.container import inspect
from worker.intake.orientation import as_stored, read_orientation, turns_sideways
from worker.intake.rgb import write_rgb

# The decoders are called by name. `Image.open` would try others, warn about sizes (warnings cannot be silenced for one
# thread alone), and swallow the reasons of failures.
_DECODERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "MPO": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded image, upright."""

    pixels: NDArray[np.uint8]
    """[height, width, 3]: RGB, 0..255, C-contiguous."""
    width: int
    height: int
    format: str
    """Format of the encoded bytes: `JPEG`, `MPO`, `PNG`, `GIF`, `WEBP` or `AVIF`."""


def decode(content: bytes, max_pixels: int) -> Image:
    """Decode the first image in `content` to upright RGB, if it has at most `max_pixels` pixels.

    Peak memory beside `content` is 7 to 8 bytes a pixel for JPEG and PNG (4 inside the decoder, 3 in the result), 10
    for AVIF and 17 for WebP.

    Raises `PermanentError` (`unsupported_format`, `truncated`, `too_many_pixels`, `corrupt`), or
    `TransientError(out_of_memory)`. Safe to call from any number of threads: no global state is changed.
    """
    try:
        return _decoded(inspect(content, max_pixels), max_pixels)
    except MemoryError:
        raise TransientError(
            ErrorCode.OUT_OF_MEMORY,
            "no memory to decode the image at this moment; lower SUSY_CONCURRENCY or SUSY_MAX_PIXELS if this repeats",
        ) from None


def _decoded(announced: Announced, max_pixels: int) -> Image:
    try:
        with _DECODERS[announced.format](BytesIO(announced.essence)) as image:
            require_size(*image.size, max_pixels)
            image.load()
            orientation = announced.orientation
            if announced.format == "AVIF":
                orientation = read_orientation(image.info.get("exif", b""))
            return _upright(image, announced, orientation)
    except (MemoryError, SusyError):
        raise
    except Pillow.DecompressionBombError as error:
        raise PermanentError(
            ErrorCode.TOO_MANY_PIXELS, "the image has more pixels than the WebP decoder accepts; make it smaller"
        ) from error
    except Exception as error:  # decoders of hostile bytes raise all kinds, and each means the same
        if announced.complete:
            raise corrupt(f"the {announced.format} data cannot be decoded") from error
        raise truncated(f"the {announced.format} data ends before the image does") from error


def _upright(image: ImageFile, announced: Announced, orientation: int) -> Image:
    width, height = reversed(image.size) if turns_sideways(orientation) else image.size
    pixels = np.empty((height, width, 3), np.uint8)
    write_rgb(image, as_stored(pixels, orientation), announced.key)
    return Image(pixels, width, height, announced.format)
