"""Text from outside, cut and cleaned until Postgres can store it."""

from __future__ import annotations

MAX_ERROR_MESSAGE = 2000
"""Characters of a failure's message that are stored."""
MAX_REJECTED_BODY = 4096
"""Bytes of a rejected message that are stored."""


def storable(text: str) -> str:
    """The text as Postgres can store it: without NUL and without halves of surrogate pairs."""
    return text.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def one_line(message: str) -> str:
    """A failure's message, up to `MAX_ERROR_MESSAGE` characters."""
    return storable(message)[:MAX_ERROR_MESSAGE]


def bounded(body: str | bytes) -> str:
    """A rejected message, up to `MAX_REJECTED_BODY` bytes."""
    text = storable(body.decode(errors="replace") if isinstance(body, bytes) else body)
    return text.encode()[:MAX_REJECTED_BODY].decode(errors="ignore")
