"""Redis URLs, read once for every client: redis-py, which publishes and inspects, and kombu, which Celery works with.

The two libraries read URLs differently: kombu ignores a database or user in the query, writes Unix sockets as
`redis+socket://` and does not verify certificates by default; redis-py reads a database that is not a number as 0.
Here a URL has one meaning for both, and a form that one of them cannot follow is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ssl import TLSVersion
from typing import Any, Self
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.retry import Retry

EXAMPLE = "redis://:password@host:6379/0"
SCHEMES = ("redis", "rediss", "unix")
LOGIN_OPTIONS = ("db", "username", "password")
TLS_OPTIONS = (
    "ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password",
    "ssl_min_version", "ssl_ciphers",
)  # fmt: skip
CERTIFICATE_REQUIREMENTS = ("none", "optional", "required")
CONNECT_TIMEOUT = 5.0
"""Seconds to wait for the server to accept a connection."""
_LONGEST_SOCKET_PATH = 107  # bytes, of Linux' sockaddr_un without the final zero


@dataclass(frozen=True)
class RedisUrl:
    """A Redis URL taken apart. Its representation carries no login: a password may have been written as the user."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    """The Unix socket; host and port then mean nothing."""
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: Mapping[str, Any] | None = field(default=None, repr=False)
    """redis-py's `ssl_…` options; None without TLS. Certificates are verified unless they say otherwise."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take `url` apart. Raises `ValueError` with a reason that repeats no part of a password."""
        parts, query = _split(url)
        try:
            values = parse_url(url)  # type: ignore[no-untyped-call]
        except ValueError:
            raise ValueError("db and ssl_min_version must be numbers") from None
        return cls(
            **_place(parts, values),
            db=_database(parts, query),
            username=_login("username", parts.username, query, values),
            password=_login("password", parts.password, query, values),
            tls=_tls(parts, query, values),
        )

    def client(self, *, timeout: float, **options: Any) -> Redis:
        """A redis-py client that waits at most `timeout` seconds for each answer; `options` are those of `redis.Redis`.

        A call that fails is repeated once, on a new connection: a server that was restarted leaves broken ones behind,
        and after a failover the open ones still lead to the former primary, which refuses to be written to. A server
        that did not answer in time is not asked again.
        """
        return Redis(
            host=self.host,
            port=self.port,
            unix_socket_path=self.path,
            db=self.db,
            username=self.username,
            password=self.password,
            ssl=self.tls is not None,
            **(self.tls or {}),
            socket_timeout=timeout,
            socket_connect_timeout=min(timeout, CONNECT_TIMEOUT),
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            retry_on_error=[ReadOnlyError],
            **options,
        )

    @property
    def broker_url(self) -> str:
        """The same server for Celery, in the one form that kombu reads wholly."""
        login = ""
        if self.username or self.password:
            login = f"{quote(self.username or '', safe='')}:{quote(self.password or '', safe='')}@"
        if self.path is not None:
            return f"redis+socket://{login}{quote(self.path)}?virtual_host={self.db}"
        host = f"[{quote(self.host, safe=':')}]" if ":" in self.host else quote(self.host)
        return f"{'redis' if self.tls is None else 'rediss'}://{login}{host}:{self.port}/{self.db}"

    @property
    def broker_tls(self) -> dict[str, Any] | None:
        """Celery's `broker_use_ssl`."""
        return None if self.tls is None else dict(self.tls)


def _split(url: str) -> tuple[SplitResult, dict[str, str]]:
    """The URL's parts and its query, after what no URL may hold was refused."""
    if not url.isprintable() or " " in url:
        raise ValueError("it holds white space or a control character; percent-encode it")
    if not url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        raise ValueError(f"it must begin with {', '.join(f'{scheme}://' for scheme in SCHEMES[:-1])} or unix://")
    try:
        parts = urlsplit(url)
        port = parts.port
        repeated = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("it cannot be parsed; percent-encode special characters of the password") from None
    if "#" in url or "@" in parts.query or "@" in parts.path:
        raise ValueError("percent-encode special characters of the password (# is %23, / is %2F, ? is %3F, @ is %40)")
    if port == 0:
        raise ValueError("port 0 is not a port")
    if re.search("[&=]", parts.path + (parts.hostname or "")):
        raise ValueError("options begin with ?, as in redis://host:6379?db=1; percent-encode & and = (%26 and %3D)")
    if re.search("[,/\0]", unquote(parts.hostname or "")):
        raise ValueError("it must name one host; clusters, sentinels and several hosts are not supported")
    for name, values in repeated.items():
        if name not in LOGIN_OPTIONS + TLS_OPTIONS:
            allowed = ", ".join(LOGIN_OPTIONS + TLS_OPTIONS)
            raise ValueError(f"the option {name[:40]!r} is not supported; supported are {allowed}")
        if len(values) > 1 or not values[0]:
            raise ValueError(f"{name} must be given once, with a value")
    return parts, {name: values[0] for name, values in repeated.items()}


def _place(parts: SplitResult, values: Mapping[str, Any]) -> dict[str, Any]:
    if parts.scheme != "unix":
        return {name: values[name] for name in ("host", "port") if name in values}
    path = values.get("path", "")
    if parts.hostname or not path.strip("/"):
        raise ValueError("a Unix socket is written unix:///path/to/socket, with an absolute path")
    if len(path.encode()) > _LONGEST_SOCKET_PATH or "\0" in path:
        raise ValueError(f"the path of a Unix socket has at most {_LONGEST_SOCKET_PATH} bytes, none of them zero")
    return {"path": path}


def _database(parts: SplitResult, query: Mapping[str, str]) -> int:
    in_path = parts.path.removeprefix("/") if parts.scheme != "unix" else ""
    found = {value for value in (in_path, query.get("db")) if value}
    if len(found) > 1:
        raise ValueError("it names two databases, in the path and as db=")
    if not all(re.fullmatch("[0-9]{1,9}", value) for value in found):
        raise ValueError("the database must be a number, as in redis://host:6379/0")
    return int(*found)


def _login(name: str, in_authority: str | None, query: Mapping[str, str], values: Mapping[str, Any]) -> str | None:
    """The user or the password; redis-py lets the authority win over the query."""
    value: str | None = values.get(name)
    if in_authority and query.get(name, value) != value:
        raise ValueError(f"it names two {name}s, before the @ and as {name}=")
    return value


def _tls(parts: SplitResult, query: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any] | None:
    options = {name: value for name, value in values.items() if name in TLS_OPTIONS}
    if parts.scheme != "rediss":
        if options:
            raise ValueError(f"{', '.join(options)} needs TLS, whose URLs begin with rediss://")
        return None
    required = query.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")  # Celery's CERT_REQUIRED, too
    if required not in CERTIFICATE_REQUIREMENTS:
        raise ValueError(f"ssl_cert_reqs must be one of {', '.join(CERTIFICATE_REQUIREMENTS)}")
    if query.get("ssl_check_hostname", "true").lower() not in ("true", "false"):
        raise ValueError("ssl_check_hostname must be true or false")
    if options.get("ssl_min_version", TLSVersion.TLSv1_2) not in (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3):
        raise ValueError("ssl_min_version must be 771 (TLS 1.2) or 772 (TLS 1.3)")
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise ValueError("ssl_keyfile needs ssl_certfile")
    return options | {"ssl_cert_reqs": required, "ssl_check_hostname": options.get("ssl_check_hostname", True)}
