from __future__ import annotations

import pytest

from worker.callbacks.registration import access_policy, checked_name, checked_url
from worker.errors import ErrorCode, PermanentError


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://receiver.example/hooks", ErrorCode.SCHEME_REFUSED),
        ("ftp://receiver.example/hooks", ErrorCode.SCHEME_REFUSED),
        ("https://user:hunter2@receiver.example/", ErrorCode.URL_CREDENTIALS),
        ("https://127.0.0.1/", ErrorCode.ADDRESS_REFUSED),
        ("https://169.254.169.254/latest/meta-data", ErrorCode.ADDRESS_REFUSED),
        ("https://[::1]/", ErrorCode.ADDRESS_REFUSED),
        ("https://[::ffff:10.0.0.1]/", ErrorCode.ADDRESS_REFUSED),
        ("https://2130706433/", ErrorCode.URL_INVALID),
        ("receiver.example/hooks", ErrorCode.URL_INVALID),
        ("https://receiver.example/a b", ErrorCode.URL_INVALID),
    ],
)
def test_a_url_that_is_not_public_https_is_refused(url: str, code: ErrorCode) -> None:
    with pytest.raises(PermanentError) as caught:
        checked_url(url, allow_private=False)
    assert caught.value.code is code
    assert "hunter2" not in str(caught.value)


def test_an_operator_may_allow_a_private_receiver_without_tls_but_no_metadata_address() -> None:
    assert checked_url("http://10.0.0.7:8080/hooks", allow_private=True) == "http://10.0.0.7:8080/hooks"
    with pytest.raises(PermanentError) as caught:
        checked_url("http://169.254.169.254/", allow_private=True)
    assert caught.value.code is ErrorCode.ADDRESS_REFUSED


def test_requests_reach_only_the_host_and_port_of_the_endpoint() -> None:
    policy = access_policy("https://receiver.example:8443/hooks?token=1", allow_private=False)
    assert (policy.hosts, policy.ports, policy.http, policy.networks) == (
        ("receiver.example",), frozenset({8443}), False, (),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["", "Platform", "a b", "-a", "a" * 101, "a/b", "ä"])
def test_a_name_that_is_not_plain_is_refused(name: str) -> None:
    with pytest.raises(PermanentError):
        checked_name(name)
    assert checked_name("platform-1.eu_west") == "platform-1.eu_west"
