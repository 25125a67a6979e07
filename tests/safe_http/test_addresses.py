"""Which addresses are public, compared with two independent judges."""

from __future__ import annotations

import ipaddress
import random

import pytest
from AntiSSRF import IPAddressRanges

from worker.safe_http.addresses import PRIVATE_NETWORKS, REFUSED, parse_network, refusal

PUBLIC = ["8.8.8.8", "93.184.215.14", "1.1.1.1", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001::1"]
INTERNAL = [ipaddress.ip_network(text) for text in ("10.1.0.0/16", "127.0.0.0/8", "fd12:3456::/32")]
MISSED_BY_THE_LIBRARY = {"::7f00:1", "::ffff:0:7f00:1", "4000::1", "::ffff:808:808"}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize(
    "address", ["", "localhost", "1.2.3", "01.2.3.4", "8.8.8.8 ", "2606::1%eth0", "::1%1", "1::2::3"]
)
def test_what_is_not_a_plain_address_is_refused(address: str) -> None:
    assert refusal(address) is not None


def test_everything_that_microsofts_library_refuses_is_refused() -> None:
    """Its ranges at both ends and in the middle; and where this table refuses more."""
    for text in IPAddressRanges.recommended_latest:
        network = ipaddress.ip_network(text)
        for address in (network[0], network[-1], network[network.num_addresses // 2]):
            assert refusal(str(address)) is not None, (text, address)
    theirs = [ipaddress.ip_network(text) for text in IPAddressRanges.recommended_latest]
    for text in MISSED_BY_THE_LIBRARY:
        address = ipaddress.ip_address(text)
        assert not any(address in network for network in theirs if network.version == address.version)
        assert refusal(text) is not None


def test_no_address_is_public_that_the_standard_library_calls_private() -> None:
    choose = random.Random(0)
    edges = [edge for found in REFUSED for edge in (int(found.network[0]) - 1, int(found.network[-1]) + 1)]
    samples = [choose.randrange(2**32) for _ in range(5000)] + [edge for edge in edges if 0 <= edge < 2**32]
    six = [(0b001 << 125) | choose.randrange(2**125) for _ in range(5000)] + [e for e in edges if 2**32 <= e < 2**128]
    addresses = [ipaddress.IPv4Address(number) for number in samples] + [ipaddress.IPv6Address(n) for n in six]
    public = [address for address in addresses if refusal(str(address)) is None]
    assert len(public) > 6000
    assert [a for a in public if a.is_private or a.is_multicast or a.is_reserved or a.is_loopback] == []


def test_an_operator_allows_private_networks_and_nothing_else() -> None:
    assert refusal("10.1.2.3", INTERNAL) is None
    assert refusal("127.0.0.1", INTERNAL) is None
    assert refusal("fd12:3456::1", INTERNAL) is None
    assert refusal("10.2.0.1", INTERNAL) == "a private address"
    everything = [ipaddress.ip_network(text) for text in ("0.0.0.0/0", "::/0")]
    for address in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "0.0.0.0", "224.0.0.1"):
        assert refusal(address, everything) is not None
    assert refusal("::ffff:10.1.2.3", everything) is not None


@pytest.mark.parametrize("text", ["0.0.0.0/0", "8.8.8.0/24", "::/0", "169.254.0.0/16", "10.0.0.0/7", "::ffff:0:0/96"])
def test_a_network_that_is_not_private_cannot_be_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="private"):
        parse_network(text)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.168.7.0/24", "127.0.0.1", "fd00::/8", "100.64.0.0/10", "::1"])
def test_a_private_network_can_be_allowed(text: str) -> None:
    assert parse_network(text) in [ipaddress.ip_network(text)]
    assert any(parse_network(text).version == private.version for private in PRIVATE_NETWORKS)
