"""Signatures: the published vectors of Standard Webhooks and of Ed25519 (RFC 8032), and what its library verifies."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from schema.states import KeyKind
from worker.callbacks.signing import SigningKey, signed_headers
from worker.errors import ErrorCode, PermanentError

# The vector that the libraries of Standard Webhooks have in common.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

# RFC 8032, section 7.1: seed, public key, message, signature.
ED25519 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


def test_the_published_vector_of_standard_webhooks() -> None:
    headers = signed_headers(MESSAGE_ID, TIMESTAMP, BODY, [SigningKey.parse(SECRET)])
    assert headers == {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": str(TIMESTAMP),
        "webhook-signature": SIGNATURE,
    }


@pytest.mark.parametrize(("seed", "public", "message", "signature"), ED25519)
def test_the_published_vectors_of_ed25519(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey.parse("whsk_" + base64.b64encode(bytes.fromhex(seed)).decode())
    assert key.shared == "whpk_" + base64.b64encode(bytes.fromhex(public)).decode()
    assert key.sign(bytes.fromhex(message)) == "v1a," + base64.b64encode(bytes.fromhex(signature)).decode()


def test_a_secret_that_carries_its_public_key_is_the_same_key() -> None:
    seed, public, *_ = ED25519[0]
    both = SigningKey.parse("whsk_" + base64.b64encode(bytes.fromhex(seed + public)).decode())
    assert both == SigningKey.parse("whsk_" + base64.b64encode(bytes.fromhex(seed)).decode())


@pytest.mark.parametrize("body", [b"{}", '{"name":"Zoë \U0001f600"}'.encode()])
def test_the_library_verifies_what_is_signed_and_nothing_else(body: bytes) -> None:
    key, other = SigningKey.new(KeyKind.HMAC), SigningKey.new(KeyKind.HMAC)
    headers = signed_headers("evt_1", int(time.time()), body, [key, SigningKey.new(KeyKind.ED25519)])
    Webhook(key.shared).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(key.shared).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other.shared).verify(body, headers)


def test_both_kinds_and_both_keys_of_a_rotation_sign_the_same_content() -> None:
    keys = [SigningKey.new(kind) for kind in (KeyKind.HMAC, KeyKind.ED25519, KeyKind.HMAC)]
    now = int(time.time())
    headers = signed_headers("evt_1", now, b"{}", keys)
    signatures = headers["webhook-signature"].split(" ")
    assert [signature.partition(",")[0] for signature in signatures] == ["v1", "v1a", "v1"]
    for key in (keys[0], keys[2]):
        Webhook(key.shared).verify(b"{}", headers)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(keys[1].shared.removeprefix("whpk_")))
    signature = base64.b64decode(signatures[1].removeprefix("v1a,"))
    public.verify(signature, b"evt_1.%d.{}" % now)
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"evt_2.%d.{}" % now)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_MfKQ9r8G",
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_not base64 at all, but long enough",
        "whsk_" + base64.b64encode(bytes(33)).decode(),
        "whpk_" + base64.b64encode(bytes(32)).decode(),
    ],
)
def test_a_secret_of_another_form_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(PermanentError) as caught:
        SigningKey.parse(text)
    assert caught.value.code is ErrorCode.KEY_INVALID
    assert len(text) < 12 or text not in str(caught.value)


def test_a_key_does_not_show_its_secret() -> None:
    key = SigningKey.parse(SECRET)
    assert "secret" not in repr(key)
    assert SigningKey.parse(key.shared) == key
