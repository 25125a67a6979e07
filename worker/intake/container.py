"""What a file announces before anything is decoded: its format, its size, and the part that holds the pixels.

Each format has a reader of its container here. It looks at no pixel, but it answers three questions reliably that a
decoder answers late or not at all: is the image too large, is it cut off, and what of it is needed. Comments,
profiles, thumbnails, text and further frames are left behind, so no decoder ever sees them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from worker.errors import ErrorCode, PermanentError
from worker.intake import avif, gif, jpeg, png, webp
from worker.intake.announced import Announced

_Inspect = Callable[[bytes, int], Announced]


@dataclass(frozen=True)
class _Signature:
    """How a format's files begin: words at fixed places."""

    words: tuple[tuple[int, bytes], ...]
    inspect: _Inspect

    @property
    def length(self) -> int:
        return max(offset + len(word) for offset, word in self.words)

    def agrees(self, head: bytes) -> bool:
        """Whether `head` begins so, as far as it reaches."""
        return all(word.startswith(head[offset : offset + len(word)]) for offset, word in self.words)


_SIGNATURES = (
    _Signature(((0, b"\xff\xd8\xff"),), jpeg.inspect),
    _Signature(((0, b"\x89PNG\r\n\x1a\n"),), png.inspect),
    _Signature(((0, b"GIF87a"),), gif.inspect),
    _Signature(((0, b"GIF89a"),), gif.inspect),
    _Signature(((0, b"RIFF"), (8, b"WEBP")), webp.inspect),
    _Signature(((0, b"\x00\x00"), (4, b"ftyp")), avif.inspect),
)
_LONGEST = max(signature.length for signature in _SIGNATURES)
_NEIGHBOURS = ((b"BM", "BMP"), (b"II*\x00", "TIFF"), (b"MM\x00*", "TIFF"), (b"<", "SVG, XML or HTML"), (b"%PDF", "PDF"))


def inspect(content: bytes, max_pixels: int) -> Announced:
    """Find out what `content` is, without decoding it.

    Raises `PermanentError`: `unsupported_format`, `truncated`, `corrupt`, or `too_many_pixels` once a header says so.
    """
    if not content:
        raise PermanentError(ErrorCode.TRUNCATED, "the file is empty; upload the image again")
    for signature in _SIGNATURES:
        if signature.agrees(content[:_LONGEST]):
            if len(content) < signature.length:
                raise PermanentError(
                    ErrorCode.TRUNCATED, "the file ends within its first bytes; upload the image again"
                )
            try:
                return signature.inspect(content, max_pixels)
            except (struct.error, IndexError):
                # The readers check the lengths that matter; what remains is a header that the file's end cuts.
                raise PermanentError(
                    ErrorCode.TRUNCATED, "the file ends within its header; upload the image again"
                ) from None
    looks_like = next((f" ({name}, it seems)" for magic, name in _NEIGHBOURS if content.startswith(magic)), "")
    raise PermanentError(
        ErrorCode.UNSUPPORTED_FORMAT,
        f"the bytes are no JPEG, PNG, WebP, GIF or AVIF image{looks_like}; convert the image to one of these",
    )
