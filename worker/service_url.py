"""The address of the HTTP service, as `SUSY_URL` names it."""

from __future__ import annotations

from urllib.parse import urlsplit

EXAMPLE = "https://susy.example.org"


def service_url(text: str) -> str:
    """The address without a slash at its end. Raises `ValueError` that says what is wrong; the text is not in it."""
    try:
        parts = urlsplit(text.strip())
        _ = parts.port
    except ValueError:
        raise ValueError(f"not a valid URL; an example is {EXAMPLE}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"must begin with https:// or http:// and name a host; an example is {EXAMPLE}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user or a password; set SUSY_API_KEY")
    if parts.query or parts.fragment:
        raise ValueError(f"must not have a query or a fragment; an example is {EXAMPLE}")
    if not text.isascii() or any(character.isspace() for character in text.strip()):
        raise ValueError(f"must be ASCII without spaces; an example is {EXAMPLE}")
    return text.strip().rstrip("/")
