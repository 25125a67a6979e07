"""The table of hostile URLs: every one is refused, with its code, and nothing is connected to."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from tests.support.checkout import CHECKOUT
from tests.support.web import HOST, Authority, WebServer
from tools.hostile_urls import PAGE, TABLE, with_table
from worker.errors import PermanentError
from worker.safe_http.client import SafeClient
from worker.safe_http.network import PinningBackend
from worker.safe_http.policy import AccessPolicy

REFUSED: list[dict[str, Any]] = tomllib.loads(TABLE.read_text())["refused"]


def test_the_table_has_at_least_60_rows_and_is_in_the_docs() -> None:
    assert len(REFUSED) >= 60
    assert len({(row["url"], row.get("redirect")) for row in REFUSED}) == len(REFUSED)
    assert with_table(PAGE.read_text()) == PAGE.read_text(), "run python -m tools.hostile_urls"
    assert PAGE.is_relative_to(CHECKOUT)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were connected to."""
    from worker.safe_http import network

    addresses: list[str] = []
    connect = network._connect

    def recording(address: str, port: int, timeout: float) -> Any:
        addresses.append(address)
        return connect(address, port, timeout)

    monkeypatch.setattr(network, "_connect", recording)
    return addresses


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row["why"])
def test_a_hostile_url_is_refused(
    row: dict[str, Any], https: WebServer, authority: Authority, connected: list[str]
) -> None:
    def resolve(host: str) -> Sequence[str]:
        if host == HOST:
            return ["127.0.0.1"]
        if "resolves" not in row:
            raise OSError(-2, "no such name")
        answer: list[str] = row["resolves"]
        return answer

    policy = AccessPolicy(any_public_host=True, http=True)
    url = row["url"]
    if redirects := row.get("redirect"):
        # The first host is one that the operator lists with its inner network; where it redirects to is not.
        policy = replace(
            policy,
            hosts=(HOST,),
            networks=(ip_network("127.0.0.0/8"),),
            ports=policy.ports | {https.port},
            ca_file=authority.ca_file,
        )
        location = {"Location": https.url("/loop") if url == "/loop" else url} if url else {}
        for path in ("/redirect", "/loop"):
            https.serve(path, status=302, **location)
        url = https.url("/redirect")
    client = SafeClient(policy, resolve=resolve)
    with client, pytest.raises(PermanentError) as refused, client.stream(url, deadline=5) as response:
        response.read(1000)
    assert refused.value.code == row["code"], refused.value
    assert "\n" not in refused.value.message
    assert "hunter2" not in refused.value.message
    assert set(connected) == ({"127.0.0.1"} if redirects else set())


def test_a_name_that_changes_its_address_is_connected_to_where_it_was_judged(
    https: WebServer, authority: Authority
) -> None:
    """DNS rebinding: the resolver answers differently each time."""
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.3"]

    policy = AccessPolicy(
        hosts=(HOST,),
        networks=(ip_network("127.0.0.2/32"),),
        ports=frozenset({https.port}),
        ca_file=authority.ca_file,
    )
    https.serve("/a", b"bytes", Connection="close")
    with SafeClient(policy, resolve=resolve) as client:
        with client.stream(https.url("/a")) as response:
            assert response.read(100) == b"bytes"
        assert (asked, https.peers) == ([HOST], ["127.0.0.2"])
        with pytest.raises(PermanentError) as refused, client.stream(https.url("/a")):
            pass
        assert refused.value.code == "address_refused"
    assert (len(asked), https.peers) == (2, ["127.0.0.2"])


def test_the_backend_opens_no_local_socket() -> None:
    with pytest.raises(NotImplementedError):
        PinningBackend(AccessPolicy(), None, lambda host: []).connect_unix_socket("/run/docker.sock")  # type: ignore[arg-type]
