"""What a reader returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Received = Callable[[int], None]
"""Told of each piece of an image as it arrives: its size in bytes."""


@dataclass(frozen=True, eq=False)
class Fetched:
    """The bytes of an image, and which version of it they are."""

    content: bytes
    etag: str | None = None
    """As the server named it, without quotes; None where there is none, as for files."""
    version_id: str | None = None
    """Of an object in a bucket that keeps versions."""


def plain_etag(etag: str | None) -> str | None:
    """An entity tag without the quotes and the mark of weakness that HTTP writes and events leave out."""
    return (etag.strip().removeprefix("W/").strip('"') or None) if etag else None
