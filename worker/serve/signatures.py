"""Signatures of requests: HMAC-SHA256 in constant time, and timestamps within five minutes.

Senders of hooks sign in several forms. What all of them share is here; the adapter of a sender knows its headers and
what exactly it signs.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Sequence

from worker.errors import ErrorCode
from worker.serve.problems import RefusedError

TOLERANCE = 300.0
"""Seconds that a signature's timestamp may be in the past or in the future."""


def hmac_sha256(secret: bytes, signed: bytes) -> bytes:
    """The HMAC-SHA256 of `signed`: 32 bytes."""
    return hmac.digest(secret, signed, hashlib.sha256)


def require_signature(secrets: Sequence[bytes], signed: bytes, signatures: Iterable[bytes]) -> None:
    """Raise `RefusedError` (`invalid_signature`) unless one of `signatures` is the HMAC by one of `secrets`.

    Several secrets are valid while they are rotated. Every comparison is made, each in constant time, so that the time
    tells neither how much of a signature is right nor which secret made it.
    """
    given = list(signatures)
    if not secrets:  # an empty list must never mean that everything is accepted
        raise RefusedError(ErrorCode.INVALID_SIGNATURE, "no secret is configured for this sender; configure one")
    matches = False
    for secret in secrets:
        expected = hmac_sha256(secret, signed)
        for signature in given:
            matches |= hmac.compare_digest(expected, signature)
    if not matches:
        raise RefusedError(
            ErrorCode.INVALID_SIGNATURE, "the signature is not that of this content; check the secret of the sender"
        )


def require_recent(timestamp: str, *, now: float | None = None) -> None:
    """Raise `RefusedError` (`expired_signature`) unless `timestamp`, in Unix seconds, is within five minutes of now.

    A timestamp that is no such number is `invalid_signature`.
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise RefusedError(ErrorCode.INVALID_SIGNATURE, "the signature's timestamp is not a number of Unix seconds")
    age = (time.time() if now is None else now) - int(timestamp)
    if abs(age) > TOLERANCE:
        when = "ago" if age > 0 else "in the future"
        raise RefusedError(
            ErrorCode.EXPIRED_SIGNATURE,
            f"the signature was made {abs(age):.0f} s {when}; sign anew, and set the sender's clock",
        )
