"""The one parser of URLs. What it returns is what is judged, connected to and sent; no other code parses it again.

Forms on which parsers disagree are refused instead of repaired: control characters, spaces, backslashes, user names,
numbers in place of IPv4 addresses, zone ids, percent-escapes in a host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

from worker.errors import ErrorCode, PermanentError

MAX_URL_LENGTH = 8192
DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#.*)?"
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]@]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_SHOWN = 200


@dataclass(frozen=True)
class Url:
    """An absolute `http` or `https` URL in canonical form, without a fragment."""

    scheme: str
    host: str
    """A DNS name in lower case and ASCII, or an IP address without brackets."""
    port: int
    path: str
    """Begins with `/`; ASCII."""
    query: str | None

    @property
    def target(self) -> str:
        """What the request line names."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    def __str__(self) -> str:
        return self.origin + self.target

    @property
    def shown(self) -> str:
        """For messages and logs: without the query, which may carry a signature."""
        text = self.origin + self.path
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"

    def join(self, reference: str) -> Url:
        """The URL that a redirect from this one leads to. Raises as `parse_url` does."""
        _require_plain(reference)
        return parse_url(urljoin(str(self), reference))


def parse_url(text: str) -> Url:
    """Parse an absolute URL.

    Raises `PermanentError` (`url_invalid`, `url_credentials`, or `scheme_refused` for a scheme other than `http` and
    `https`). The URL itself stays out of the message, as it may carry a secret.
    """
    _require_plain(text)
    found = _URL.fullmatch(text)
    if found is None:
        raise _invalid("it is not of the form https://host/path")
    scheme = found["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise PermanentError(ErrorCode.SCHEME_REFUSED, f"URLs of the scheme {scheme} cannot be requested; use https")
    if "@" in found["authority"]:
        raise PermanentError(
            ErrorCode.URL_CREDENTIALS, "the URL carries a user name or a password; remove what stands before the @"
        )
    authority = _AUTHORITY.fullmatch(found["authority"])
    if authority is None:
        raise _invalid("its host or port is not valid")
    port = int(authority["port"]) if authority["port"] else DEFAULT_PORTS[scheme]
    if not 1 <= port <= 65535:
        raise _invalid("its port is not between 1 and 65535")
    path, query = found["path"] or "/", found["query"]
    return Url(scheme, parse_host(authority["host"]), port, _ascii(path), None if query is None else _ascii(query))


def parse_host(text: str) -> str:
    """A host's canonical form: a DNS name in lower case and ASCII, or an IP address without brackets.

    Raises `PermanentError(url_invalid)`.
    """
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except AddressValueError:
            raise _invalid("its host is not a valid IPv6 address") from None
    host = text.lower()
    if not host.isascii():
        host = _ascii_name(host)
    labels = host.split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise _invalid("its host is not a valid name")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(host))
        except AddressValueError:
            raise _invalid("its host is a number that is not an IPv4 address in four decimal parts") from None
    return host


def _ascii_name(host: str) -> str:
    try:
        import idna  # of the extra `http`
    except ImportError:
        raise _invalid("its host is not ASCII; write it in its xn-- form") from None
    try:
        return idna.encode(host, uts46=True).decode("ascii").lower()
    except idna.IDNAError:
        raise _invalid("its host is not a valid international name") from None


def _require_plain(text: str) -> None:
    if len(text) > MAX_URL_LENGTH:
        raise _invalid(f"it is longer than {MAX_URL_LENGTH} characters")
    if any(letter.isspace() or not letter.isprintable() or letter == "\\" for letter in text):
        raise _invalid("it contains a space, a control character or a backslash; percent-encode it")


def _ascii(text: str) -> str:
    """A path or query with what is not allowed in a request percent-encoded; escapes stay as they are."""
    return quote(text, safe="/%:@!$&'()*+,;=-._~?[]")


def _invalid(why: str) -> PermanentError:
    return PermanentError(ErrorCode.URL_INVALID, f"the URL is not valid: {why}")
