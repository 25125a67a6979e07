"""Signatures of Standard Webhooks that we receive."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from worker.errors import ErrorCode, PermanentError
from worker.hooks.signatures import WebhookKey, verify_webhook

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()
NOW = 1_700_000_000
BODY = b'{"type":"image.uploaded","data":{}}'


def headers(secret: str = SECRET, *, at: int = NOW, body: bytes = BODY, webhook_id: str = "msg_1") -> dict[str, str]:
    """As the library of the standard signs."""
    signature = standardwebhooks.Webhook(secret).sign(webhook_id, datetime.fromtimestamp(at, UTC), body.decode())
    return {"webhook-id": webhook_id, "webhook-timestamp": str(at), "webhook-signature": signature}


def code(signed: dict[str, str], *keys: str, body: bytes = BODY) -> ErrorCode | None:
    try:
        verify_webhook(signed, body, [WebhookKey.parse(key) for key in keys or (SECRET,)], now=NOW)
    except PermanentError as error:
        return error.code
    return None


def test_the_example_of_the_standard_is_verified() -> None:
    signed = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    key = WebhookKey.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    verify_webhook(signed, b'{"test": 2432232314}', [key], now=1614265330)


def test_what_the_standards_library_signs_is_verified_by_any_of_the_keys() -> None:
    assert code(headers()) is None
    assert code(headers(OLD_SECRET), SECRET, OLD_SECRET) is None
    both = headers()
    both["webhook-signature"] = f"{headers(OLD_SECRET)['webhook-signature']} {both['webhook-signature']}"
    assert code(both, SECRET) is None


def test_a_signature_by_a_private_key_is_verified_by_its_public_one() -> None:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    signed = headers()
    signature = base64.b64encode(private.sign(f"msg_1.{NOW}.".encode() + BODY)).decode()
    signed["webhook-signature"] = f"v1a,{signature}"
    assert code(signed, public) is None
    assert code(signed, public, body=BODY + b" ") is ErrorCode.INVALID_SIGNATURE
    assert code(signed, SECRET) is ErrorCode.INVALID_SIGNATURE
    # The bytes of one kind are never taken for the other.
    signed["webhook-signature"] = f"v1,{signature}"
    assert code(signed, public) is ErrorCode.INVALID_SIGNATURE


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,%%%"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v2," + "A" * 44},
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-id": "a b"},
        {"webhook-id": "x" * 201},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": f"{NOW}.0"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "٣" * 10},
        {"webhook-timestamp": ""},
    ],
)
def test_a_header_that_was_changed_is_refused(changes: dict[str, str]) -> None:
    assert code(headers() | changes) is ErrorCode.INVALID_SIGNATURE


def test_another_body_or_key_is_refused() -> None:
    assert code(headers(), body=BODY + b" ") is ErrorCode.INVALID_SIGNATURE
    assert code(headers(OLD_SECRET)) is ErrorCode.INVALID_SIGNATURE
    with pytest.raises(PermanentError):
        verify_webhook(headers(), BODY, [], now=NOW)


@pytest.mark.parametrize("offset", [-301, -299, 299, 301])
def test_a_signature_counts_for_five_minutes(offset: int) -> None:
    assert code(headers(at=NOW + offset)) is (None if abs(offset) < 300 else ErrorCode.EXPIRED_SIGNATURE)


def test_a_malformed_signature_beside_a_good_one_does_no_harm() -> None:
    signed = headers()
    signed["webhook-signature"] = f"v1,%%% nonsense {signed['webhook-signature']}"
    assert code(signed) is None


def test_a_key_is_not_printed() -> None:
    assert "0123456789abcdef" not in repr(WebhookKey.parse(SECRET))
