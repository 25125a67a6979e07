"""HMAC signatures and their timestamps."""

from __future__ import annotations

import pytest

from worker.errors import ErrorCode
from worker.serve.problems import RefusedError
from worker.serve.signatures import hmac_sha256, require_recent, require_signature

# RFC 4231, test cases 1, 2, 3 and 6.
VECTORS = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
]


@pytest.mark.parametrize(("secret", "signed", "expected"), VECTORS)
def test_the_published_vectors(secret: bytes, signed: bytes, expected: str) -> None:
    assert hmac_sha256(secret, signed).hex() == expected
    require_signature([b"another", secret], signed, [b"wrong", bytes.fromhex(expected)])


@pytest.mark.parametrize(
    ("secrets", "signatures"),
    [
        ([b"one"], []),
        ([b"one"], [b""]),
        ([b"one"], [hmac_sha256(b"two", b"body")]),
        ([b"one"], [hmac_sha256(b"one", b"another body")]),
        ([b"one"], [hmac_sha256(b"one", b"body")[:-1]]),
        ([], [hmac_sha256(b"", b"body")]),
    ],
)
def test_anything_else_is_refused(secrets: list[bytes], signatures: list[bytes]) -> None:
    with pytest.raises(RefusedError) as refused:
        require_signature(secrets, b"body", signatures)
    assert refused.value.code is ErrorCode.INVALID_SIGNATURE


@pytest.mark.parametrize("age", [-300, 0, 300])
def test_a_timestamp_is_good_for_five_minutes(age: int) -> None:
    require_recent(str(1_800_000_000 - age), now=1_800_000_000.0)


@pytest.mark.parametrize("age", [-301, 301, 10**9])
def test_an_older_or_later_one_is_not(age: int) -> None:
    with pytest.raises(RefusedError) as refused:
        require_recent(str(1_800_000_000 - age), now=1_800_000_000.0)
    assert refused.value.code is ErrorCode.EXPIRED_SIGNATURE


@pytest.mark.parametrize("timestamp", ["", "now", "1.5", "-5", "٣", "1" * 13])
def test_what_is_no_timestamp_is_an_invalid_signature(timestamp: str) -> None:
    with pytest.raises(RefusedError) as refused:
        require_recent(timestamp)
    assert refused.value.code is ErrorCode.INVALID_SIGNATURE
