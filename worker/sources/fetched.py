"""What a reader returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schema.messages import plain_etag

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


def named(etag: str | None) -> str | None:
    """An entity tag as submissions write it; None where the server named none."""
    return (plain_etag(etag) or None) if etag else None
