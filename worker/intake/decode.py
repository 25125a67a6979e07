"""From encoded bytes to RGB pixels, safely: the bytes are untrusted. `docs/intake.md` describes it."""

from __future__ import annotations

import struct
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from worker.errors import ErrorCode, PermanentError, SusyError, TransientError
from worker.intake.container import ENCODED_COPIES, FIXED_BYTES, Container, corrupt, truncated
from worker.intake.gif import read_gif
from worker.intake.heif.read import read_heif
from worker.intake.jpeg import read_jpeg
from worker.intake.png import read_png
from worker.intake.webp import read_webp
from worker.machine.memory import Budget

STRIP_PIXELS = 1 << 18
"""Pixels converted at a time: what conversion allocates beside the image stays at a few megabytes."""
SCORING_BYTES = 0
"""What selecting and scoring tiles allocates per pixel beside the image: gray levels are computed of few rows at a
time."""
COPYING_BYTES = 3
"""What copies of tiles that do not overlap take per pixel."""
WHITE = 255

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded image, upright."""

    pixels: NDArray[np.uint8]
    """[height, width, 3]: RGB, 0..255. Of any strides: a JPEG's pixels are four bytes apart, and lie as the file stores
    them where its orientation turns them."""
    width: int
    height: int
    format: str
    """Format of the encoded bytes: `JPEG`, `MPO`, `PNG`, `GIF`, `WEBP`, `AVIF` or `HEIF`."""
    animated: bool = False
    """Whether the file has more frames than this one."""
    jpeg_quality: int | None = None
    """Quality of the luminance of a JPEG on libjpeg's scale, 1 to 100; None for other formats."""


@dataclass(frozen=True)
class _Signature:
    """How a format's files begin: words at fixed places."""

    words: tuple[tuple[int, bytes], ...]
    read: Callable[[bytes, int], Container]

    @property
    def length(self) -> int:
        return max(offset + len(word) for offset, word in self.words)

    def agrees(self, head: bytes) -> bool:
        """Whether `head` begins so, as far as it reaches."""
        return all(word.startswith(head[offset : offset + len(word)]) for offset, word in self.words)


_SIGNATURES = (
    _Signature(((0, b"\xff\xd8\xff"),), read_jpeg),
    _Signature(((0, b"\x89PNG\r\n\x1a\n"),), read_png),
    _Signature(((0, b"GIF87a"),), read_gif),
    _Signature(((0, b"GIF89a"),), read_gif),
    _Signature(((0, b"RIFF"), (8, b"WEBP")), read_webp),
    _Signature(((0, b"\x00\x00"), (4, b"ftyp")), read_heif),
)
_LONGEST = max(signature.length for signature in _SIGNATURES)
_NEIGHBOURS = ((b"BM", "BMP"), (b"II*\x00", "TIFF"), (b"MM\x00*", "TIFF"), (b"<", "SVG, XML or HTML"), (b"%PDF", "PDF"))


def decode(content: bytes, max_pixels: int) -> Image:
    """Decode the first image in `content` to upright RGB, if it has at most `max_pixels` pixels.

    Raises `PermanentError` (`unsupported_format`, `truncated`, `too_many_pixels`, `corrupt`), or
    `TransientError(out_of_memory)`. Safe to call from any number of threads: no global state is changed.
    """
    return decode_container(inspect(content, max_pixels))


def with_decoded(
    content: bytes,
    max_pixels: int,
    use: Callable[[Image], Result],
    memory: Budget,
    *,
    using_bytes: int = SCORING_BYTES,
    cancelled: threading.Event | None = None,
    pause: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Result:
    """`use(image)` of the image in `content`, decoded when it is its turn in `memory` and freed before its share is.

    `using_bytes` is what `use` allocates per pixel beside the image, which it must not keep. Raises as `decode` does,
    what `use` raises, and `TransientError(lease_lost)` when `cancelled` is set before its turn comes; `pause` surrounds
    the time of waiting.
    """
    container = inspect(content, max_pixels)
    held = ENCODED_COPIES * len(content)
    working = container.result_bytes + using_bytes * container.width * container.height + FIXED_BYTES
    amount = max(container.decoding_bytes, working)
    with memory.reserve(amount, held=held, cancelled=cancelled, pause=pause) as reservation:
        try:
            image = decode_container(container)
            del container  # and what its decoder has kept
            reservation.reduce_to(held + working)
            try:
                return use(image)
            finally:
                del image
        except Exception as error:
            _clear_frames(error)
            raise


def _clear_frames(error: BaseException | None) -> None:
    """Free the local variables of the calls that ended with `error`: a traceback keeps them, the pixels among them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def inspect(content: bytes, max_pixels: int) -> Container:
    """What the container of `content` declares: format, size, and the memory that decoding takes. Decodes nothing.

    Raises `PermanentError`: `unsupported_format`, `truncated`, `corrupt`, or `too_many_pixels`.
    """
    if not content:
        raise truncated("the file is empty")
    for signature in _SIGNATURES:
        if signature.agrees(content[:_LONGEST]):
            if len(content) < signature.length:
                raise truncated("the file ends within its first bytes")
            try:
                return signature.read(content, max_pixels)
            except (struct.error, IndexError):
                # The readers check the lengths that matter; what remains is a header that the file's end cuts.
                raise truncated("the file ends within its header") from None
    looks_like = next((f" (it looks like {name})" for magic, name in _NEIGHBOURS if content.startswith(magic)), "")
    raise PermanentError(
        ErrorCode.UNSUPPORTED_FORMAT,
        f"the file is not a JPEG, PNG, WebP, GIF, AVIF or HEIF image{looks_like}; convert it to one of these",
    )


def decode_container(container: Container) -> Image:
    """Decode an image that has been inspected. Allocates up to `container.decoding_bytes`. Raises as `decode` does."""
    try:
        picture = container.load()
        if isinstance(picture, np.ndarray):
            pixels = _upright(picture, container.orientation)[..., :3]
        else:
            pixels = np.empty((container.height, container.width, 3), np.uint8)
            _write_rgb(picture, container, _as_stored(pixels, container.orientation))
        return Image(
            pixels,
            container.width,
            container.height,
            container.format,
            animated=container.animated,
            jpeg_quality=container.jpeg_quality,
        )
    except MemoryError:
        raise TransientError(
            ErrorCode.OUT_OF_MEMORY,
            "there is not enough memory to decode the image at this moment; lower SUSY_MEMORY if this repeats",
        ) from None
    except SusyError:
        raise
    except Pillow.DecompressionBombError as error:
        raise PermanentError(
            ErrorCode.TOO_MANY_PIXELS, "the image has more pixels than the WebP decoder accepts; make it smaller"
        ) from error
    except Exception as error:  # decoders of hostile bytes raise all kinds, and each means the same
        if container.complete:
            raise corrupt(f"the {container.format} data cannot be decoded") from error
        raise truncated(f"the {container.format} data ends before the image does") from error


def _upright(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of `stored` [H, W, C] that is upright, [W, H, C] if it is turned."""
    turned = stored.swapaxes(0, 1) if orientation >= 5 else stored
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned


def _as_stored(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of `upright` [H, W, 3] in which the pixels lie as the file stores them, [W, H, 3] if it is turned.

    Writing the stored pixels into the view turns them without a second copy of the image.
    """
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    return upright.swapaxes(0, 1) if orientation >= 5 else upright


def _write_rgb(picture: Pillow.Image, container: Container, canvas: NDArray[np.uint8]) -> None:
    """Convert `picture` into its place on `canvas`, uint8 [H, W, 3] of any strides. The rest becomes white."""
    left, top, width, height = container.picture
    if picture.size != (width, height):
        raise corrupt("the image does not have the size that its container declares")
    first, last = max(0, left), min(left + width, canvas.shape[1])
    upper, lower = max(0, top), min(top + height, canvas.shape[0])
    if (first, upper, last, lower) != (0, 0, canvas.shape[1], canvas.shape[0]):
        canvas[...] = WHITE
    for start, end in _strips(upper, lower, width):
        strip = picture.crop((first - left, start - top, last - left, end - top))
        canvas[start:end, first:last] = _colors(strip)


def _strips(upper: int, lower: int, width: int) -> Iterator[tuple[int, int]]:
    rows = max(1, STRIP_PIXELS // width)
    return ((start, min(start + rows, lower)) for start in range(upper, lower, rows))


def _colors(strip: Pillow.Image) -> NDArray[np.uint8]:
    """uint8 [h, w, 3], or [h, w, 1] where it is gray."""
    key = strip.info.get("transparency")
    match strip.mode:
        case "RGB":
            samples = colors = np.asarray(strip)
        case "1":
            samples = colors = np.asarray(strip.convert("L"))[..., None]
        case "L":
            samples = colors = np.asarray(strip)[..., None]
        case "I;16":
            samples = np.asarray(strip)[..., None]
            colors = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
        case "CMYK":
            samples = colors = np.asarray(strip.convert("RGB"))
        case "P" | "LA" | "RGBA":
            return _over_white(np.asarray(strip.convert("RGBA")))
        case mode:
            raise PermanentError(
                ErrorCode.UNSUPPORTED_FORMAT, f"pixels of Pillow's mode {mode} are not supported; convert the image"
            )
    return colors if key is None else _keyed(colors, samples, key)


def _over_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite uint8 [h, w, 4], straight alpha, over white; rounded to nearest."""
    alpha = rgba[..., 3:].astype(np.uint16)
    # At most 255 × 255 + 127, which still fits into 16 bits.
    return ((rgba[..., :3] * alpha + WHITE * (255 - alpha) + 127) // 255).astype(np.uint8)


def _keyed(colors: NDArray[np.uint8], samples: NDArray[np.generic], key: tuple[int, ...]) -> NDArray[np.uint8]:
    """`colors`, but white where `samples` equal the transparent color `key`."""
    transparent = (samples == np.array(key)).all(axis=-1, keepdims=True)
    return np.where(transparent, np.uint8(WHITE), colors)
