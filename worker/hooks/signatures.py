"""Signatures of Standard Webhooks 1.0 that we receive: HMAC-SHA256 (`v1`) and ed25519 (`v1a`).

The package `standardwebhooks` verifies `v1` alone, and raises errors of other types for a header that is malformed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from worker.errors import ErrorCode, PermanentError

TOLERANCE = 300.0
"""Seconds that a signature's time may differ from ours."""
SECRET_PREFIX, PUBLIC_PREFIX = "whsec_", "whpk_"
MAX_SIGNATURES = 20
MIN_SECRET, MAX_SECRET = 24, 64
"""Bytes of a secret, as the standard has it."""
_ID = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True)
class WebhookKey:
    """A secret, or the public half of a key pair."""

    version: str
    """`v1` or `v1a`."""
    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """A key as it is written, base64 after its prefix. Raises `ValueError` that does not repeat it."""
        version = {SECRET_PREFIX: "v1", PUBLIC_PREFIX: "v1a"}
        for prefix, known in version.items():
            if text.startswith(prefix):
                try:
                    key = base64.b64decode(text.removeprefix(prefix), validate=True)
                except (binascii.Error, ValueError):
                    raise ValueError(f"has a key whose part after {prefix} is not base64") from None
                if known == "v1" and not MIN_SECRET <= len(key) <= MAX_SECRET:
                    raise ValueError(f"has a secret of {len(key)} bytes; it must have {MIN_SECRET} to {MAX_SECRET}")
                if known == "v1a" and len(key) != 32:
                    raise ValueError(f"has a public key of {len(key)} bytes; it must have 32")
                return cls(known, key)
        raise ValueError(f"has a line that begins with neither {SECRET_PREFIX} nor {PUBLIC_PREFIX}")

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Whether this is the signature of `content`; compared in constant time."""
        if self.version == "v1":
            return hmac.compare_digest(hmac.new(self.key, content, hashlib.sha256).digest(), signature)
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, content)
        except InvalidSignature:
            return False
        return True


def verify_webhook(
    headers: Mapping[str, str], body: bytes, keys: Iterable[WebhookKey], *, now: float | None = None
) -> None:
    """Return when one of `keys` signed this body; `headers` have names in lower case, `now` is Unix time.

    Raises `PermanentError`: `invalid_signature`, or `expired_signature` when it is of a time five minutes from ours.
    """
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not _ID.fullmatch(webhook_id):
        raise invalid_signature("the header webhook-id is missing or not 1 to 200 printable characters")
    if not re.fullmatch(r"\d{1,12}", timestamp, re.ASCII):
        raise invalid_signature("the header webhook-timestamp is missing or not a Unix time in seconds")
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE:
        raise PermanentError(
            ErrorCode.EXPIRED_SIGNATURE,
            f"webhook-timestamp is more than {TOLERANCE:.0f} s from the time here; sign again when sending again, and "
            "set both clocks",
        )
    content = b".".join((webhook_id.encode(), timestamp.encode(), body))
    signatures = list(_signatures(headers.get("webhook-signature", "")))
    if not any(
        key.version == version and key.verifies(signature, content) for key in keys for version, signature in signatures
    ):
        raise invalid_signature("no signature in webhook-signature is that of this body by a key of the hooks file")


def _signatures(header: str) -> Iterable[tuple[str, bytes]]:
    for part in header.split(" ")[:MAX_SIGNATURES]:
        version, separator, encoded = part.partition(",")
        if separator:
            try:
                yield version, base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                continue


def invalid_signature(why: str) -> PermanentError:
    """The error for a signature that does not hold."""
    return PermanentError(ErrorCode.INVALID_SIGNATURE, why)
