"""Where requests may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.errors import ErrorCode, PermanentError
from worker.safe_http.addresses import Network, refusal
from worker.safe_http.urls import Url


@dataclass(frozen=True)
class AccessPolicy:
    """Hosts, addresses, ports and schemes that requests may reach. The default reaches nothing."""

    hosts: tuple[str, ...] = ()
    """Hosts in the form of `parse_host`; `*.example.com` stands for every name below `example.com`. None means none."""
    any_public_host: bool = False
    """Whether every host is allowed whose addresses are all public."""
    networks: tuple[Network, ...] = ()
    """Networks whose addresses are allowed although they are not public, as `parse_network` returns them. Only for
    hosts that are listed: other names never lead there."""
    http: bool = False
    """Whether `http` is allowed beside `https`."""
    ports: frozenset[int] = frozenset({80, 443})
    max_redirects: int = 3
    ca_file: Path | None = None
    """Certificate authorities to trust, a PEM file, beside the system's."""

    def require(self, url: Url) -> None:
        """Raise `PermanentError` (`scheme_refused`, `port_refused`, `host_refused`) if `url` may not be requested."""
        if url.scheme == "http" and not self.http:
            raise PermanentError(ErrorCode.SCHEME_REFUSED, f"{url.shown} is not encrypted; use https, or allow http")
        if url.port not in self.ports:
            allowed = ", ".join(map(str, sorted(self.ports))) or "none"
            raise PermanentError(ErrorCode.PORT_REFUSED, f"port {url.port} of {url.shown} is not one of {allowed}")
        if not self.any_public_host and not self.lists(url.host):
            raise PermanentError(ErrorCode.HOST_REFUSED, f"the host {url.host} is not allowed; list it if it should be")

    def require_addresses(self, host: str, addresses: Sequence[str]) -> None:
        """Raise `PermanentError(address_refused)` unless every address of `host` is allowed and there is one."""
        allowed = self.networks if self.lists(host) else ()
        for address in addresses:
            if what := refusal(address, allowed):
                # Not the address itself: whoever submitted the URL may read this, and should not learn of inner hosts.
                raise PermanentError(ErrorCode.ADDRESS_REFUSED, f"the host {host} leads to {what}")
        if not addresses:
            raise PermanentError(ErrorCode.ADDRESS_REFUSED, f"the host {host} has no address")

    def lists(self, host: str) -> bool:
        """Whether `hosts` names `host`."""
        return any(host.endswith(listed[1:]) if listed.startswith("*.") else host == listed for listed in self.hosts)
