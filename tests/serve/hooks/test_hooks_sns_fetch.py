"""How SNS is asked for its certificate: by the safe client, at its own name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.web import Authority, WebServer, web_server
from worker.errors import ErrorCode, SusyError
from worker.safe_http.addresses import parse_network
from worker.safe_http.policy import AccessPolicy
from worker.serve.hooks.routes import sns_fetch

HOST = "sns.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def sns(authority: Authority) -> Iterator[WebServer]:
    with web_server(authority, HOST) as server:
        yield server


def to_loopback(_host: str) -> list[str]:
    return ["127.0.0.1"]


def code(url: str, fetch: object) -> ErrorCode:
    with pytest.raises(SusyError) as refused:
        fetch(url)  # type: ignore[operator]
    return refused.value.code


def test_a_certificate_is_fetched_by_tls_from_the_name_of_sns(sns: WebServer, authority: Authority) -> None:
    policy = AccessPolicy(
        hosts=(HOST,),
        networks=(parse_network("127.0.0.0/8"),),
        ports=frozenset({sns.port}),
        max_redirects=0,
        ca_file=authority.ca_file,
    )
    fetch = sns_fetch(policy=policy, resolve=to_loopback)
    sns.serve("/a.pem", b"certificate")
    assert fetch(sns.url("/a.pem", HOST)) == b"certificate"
    assert code(sns.url("/other.pem", HOST), fetch) is ErrorCode.REMOTE_UNAVAILABLE
    sns.serve("/large.pem", b"x" * 70_000)
    assert code(sns.url("/large.pem", HOST), fetch) is ErrorCode.REMOTE_UNAVAILABLE


def test_nothing_but_sns_at_a_public_address_is_asked() -> None:
    fetch = sns_fetch(resolve=to_loopback)
    assert code(f"https://{HOST}/a.pem", fetch) is ErrorCode.ADDRESS_REFUSED
    assert code("https://evil.example/a.pem", fetch) is ErrorCode.HOST_REFUSED
    assert code(f"http://{HOST}/a.pem", fetch) is ErrorCode.SCHEME_REFUSED
    assert code(f"https://{HOST}:8443/a.pem", fetch) is ErrorCode.PORT_REFUSED
