"""Which IP addresses are public. Everything that is not known to be is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Range:
    """A range of addresses that are not public."""

    network: Network
    what: str
    may_be_allowed: bool
    """Whether an operator may allow a network inside it, such as the one in which a storage server stands."""


def _range(network: str, what: str, *, may_be_allowed: bool = False) -> Range:
    return Range(ip_network(network), what, may_be_allowed)


# The first range that contains an address gives the answer. Sources: IANA's registries of special-purpose addresses,
# and the addresses at which clouds serve the credentials of a machine.
REFUSED: tuple[Range, ...] = (
    _range("169.254.169.254/32", "a metadata address"),
    _range("169.254.170.2/32", "a metadata address"),
    _range("100.100.100.200/32", "a metadata address"),
    _range("168.63.129.16/32", "a metadata address"),  # Azure's, inside a public range
    _range("192.0.0.192/32", "a metadata address"),
    _range("fd00:ec2::/32", "a metadata address"),
    _range("fd20:ce::254/128", "a metadata address"),
    _range("0.0.0.0/8", "an unspecified address"),
    _range("10.0.0.0/8", "a private address", may_be_allowed=True),
    _range("100.64.0.0/10", "an address shared behind a carrier's NAT", may_be_allowed=True),
    _range("127.0.0.0/8", "a loopback address", may_be_allowed=True),
    _range("169.254.0.0/16", "a link-local address"),
    _range("172.16.0.0/12", "a private address", may_be_allowed=True),
    _range("192.0.0.0/24", "an address of a protocol"),
    _range("192.0.2.0/24", "a documentation address"),
    _range("192.31.196.0/24", "an address of a protocol"),
    _range("192.52.193.0/24", "an address of a protocol"),
    _range("192.88.99.0/24", "an address of a 6to4 relay"),
    _range("192.168.0.0/16", "a private address", may_be_allowed=True),
    _range("192.175.48.0/24", "an address of a protocol"),
    _range("198.18.0.0/15", "an address of benchmarks"),
    _range("198.51.100.0/24", "a documentation address"),
    _range("203.0.113.0/24", "a documentation address"),
    _range("224.0.0.0/4", "a multicast address"),
    _range("240.0.0.0/4", "a reserved address"),
    _range("::/128", "an unspecified address"),
    _range("::1/128", "a loopback address", may_be_allowed=True),
    _range("::ffff:0:0/96", "an IPv4 address written as IPv6"),
    _range("::/96", "an IPv4 address written as IPv6"),
    _range("::ffff:0:0:0/96", "an IPv4 address translated to IPv6"),
    _range("64:ff9b::/96", "an IPv4 address behind NAT64"),
    _range("64:ff9b:1::/48", "an IPv4 address behind NAT64"),
    _range("2001::/32", "a Teredo address"),
    _range("2001::/23", "an address of a protocol"),
    _range("2001:db8::/32", "a documentation address"),
    _range("2002::/16", "a 6to4 address"),
    _range("2620:4f:8000::/48", "an address of a protocol"),
    _range("3fff::/20", "a documentation address"),
    _range("fc00::/7", "a private address", may_be_allowed=True),
    _range("fe80::/10", "a link-local address"),
    _range("fec0::/10", "a site-local address"),
    _range("ff00::/8", "a multicast address"),
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only part of IPv6 that is assigned to hosts of the internet."""

PRIVATE_NETWORKS: tuple[Network, ...] = tuple(found.network for found in REFUSED if found.may_be_allowed)
"""The networks that an operator may allow: loopback, private use, shared behind a carrier's NAT."""


def refusal(text: str, allowed: Sequence[Network] = ()) -> str | None:
    """What is wrong with an address, such as "a loopback address"; None if it is public or in one of `allowed`.

    A zone id (`fe80::1%eth0`) and anything else that is not a plain address is refused.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return "not an address"
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "an address with a zone id"
    found = next((found for found in REFUSED if address in found.network), None)
    if found is None:
        if address.version == 6 and address not in _GLOBAL_UNICAST:
            return "not assigned to hosts of the internet"
        return None
    if found.may_be_allowed and any(address in network for network in allowed):
        return None
    return found.what


def parse_network(text: str) -> Network:
    """A network that may be allowed although it is not public. Raises `ValueError` for any other."""
    network = ip_network(text)
    inside = [
        private
        for private in PRIVATE_NETWORKS
        if private.version == network.version and network.subnet_of(private)  # type: ignore[arg-type]
    ]
    if not inside:
        raise ValueError(f"{text} is not inside a private or loopback network; public addresses need no permission")
    return network
