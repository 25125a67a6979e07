"""Keys, and the headers by which receivers verify a callback: Standard Webhooks 1.0.

The signed content is `{webhook-id}.{webhook-timestamp}.{body}`. A header may carry several signatures: of both kinds of
keys, and of the old and the new key during a rotation. A receiver accepts the message if one of them is right.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from schema.states import KeyKind
from worker.errors import ErrorCode, PermanentError

HMAC_SECRET, ED25519_SECRET, ED25519_PUBLIC = "whsec_", "whsk_", "whpk_"
NEW_SECRET_BYTES = 32
SEED_BYTES = 32
"""Of an Ed25519 key. Some programs write the public key behind it, as NaCl does."""


@dataclass(frozen=True)
class SigningKey:
    """A secret that signs callbacks to one endpoint."""

    kind: KeyKind
    secret: bytes = field(repr=False)
    """24 to 64 random bytes for HMAC, the seed of 32 for Ed25519."""

    @classmethod
    def new(cls, kind: KeyKind) -> SigningKey:
        """A key of random bytes."""
        return cls(kind, secrets.token_bytes(NEW_SECRET_BYTES if kind is KeyKind.HMAC else SEED_BYTES))

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """A key in its written form, `whsec_…` or `whsk_…`. Raises `PermanentError(KEY_INVALID)`."""
        text = text.strip()
        for prefix, kind in ((HMAC_SECRET, KeyKind.HMAC), (ED25519_SECRET, KeyKind.ED25519)):
            if text.startswith(prefix):
                return cls(kind, _secret(kind, text.removeprefix(prefix)))
        raise PermanentError(ErrorCode.KEY_INVALID, f"a secret begins with {HMAC_SECRET} or {ED25519_SECRET}")

    @property
    def shared(self) -> str:
        """What the receiver needs: the secret itself (`whsec_…`) for HMAC, the public key (`whpk_…`) for Ed25519."""
        if self.kind is KeyKind.HMAC:
            return HMAC_SECRET + _base64(self.secret)
        return ED25519_PUBLIC + _base64(_ed25519(self.secret).public_key().public_bytes_raw())

    def sign(self, content: bytes) -> str:
        """The signature with its version, as the header lists it."""
        if self.kind is KeyKind.HMAC:
            return f"v1,{_base64(hmac.digest(self.secret, content, hashlib.sha256))}"
        return f"v1a,{_base64(_ed25519(self.secret).sign(content))}"


def signed_headers(message_id: str, timestamp: int, body: bytes, keys: Sequence[SigningKey]) -> dict[str, str]:
    """The three headers of a message that is sent at `timestamp`, in seconds since 1970. `keys` has at least one."""
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(key.sign(content) for key in keys),
    }


def _ed25519(seed: bytes):  # type: ignore[no-untyped-def]
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed)


def _secret(kind: KeyKind, text: str) -> bytes:
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise PermanentError(ErrorCode.KEY_INVALID, "the secret is not valid base64 after its prefix") from None
    if kind is KeyKind.ED25519:
        if len(secret) not in (SEED_BYTES, 2 * SEED_BYTES):
            raise PermanentError(ErrorCode.KEY_INVALID, "an Ed25519 secret has 32 bytes, or 64 with its public key")
        return secret[:SEED_BYTES]
    if not 24 <= len(secret) <= 64:
        raise PermanentError(ErrorCode.KEY_INVALID, "an HMAC secret has 24 to 64 bytes")
    return secret


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
