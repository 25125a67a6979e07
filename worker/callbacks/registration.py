"""Registering an endpoint: what its URL may be, and where requests to it may go."""

from __future__ import annotations

import re
from pathlib import Path

from worker.errors import ErrorCode, PermanentError
from worker.safe_http.addresses import PRIVATE_NETWORKS
from worker.safe_http.policy import AccessPolicy
from worker.safe_http.urls import parse_url

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def checked_name(name: str) -> str:
    """Raises `PermanentError(INVALID_MESSAGE)` unless `name` can be an endpoint's."""
    if not NAME.fullmatch(name):
        raise PermanentError(
            ErrorCode.INVALID_MESSAGE,
            f"{name!r} cannot be the name of an endpoint; use 1 to 100 of a-z, 0-9, '.', '_' and '-'",
        )
    return name


def checked_url(url: str, *, allow_private: bool) -> str:
    """The URL in canonical form.

    Raises `PermanentError` as `parse_url` does, `scheme_refused` for `http`, and `address_refused` for an address that
    is not public, unless `allow_private`. Names are judged when they are connected to.
    """
    parsed = parse_url(url)
    policy = access_policy(str(parsed), allow_private=allow_private)
    if parsed.scheme == "http" and not allow_private:
        raise PermanentError(
            ErrorCode.SCHEME_REFUSED,
            f"{parsed.shown} is not encrypted; use https, or --allow-private for a receiver on your own network",
        )
    if re.fullmatch(r"[0-9.]+|.*:.*", parsed.host):
        policy.require_addresses(parsed.host, [parsed.host])
    return str(parsed)


def access_policy(url: str, *, allow_private: bool, ca_file: Path | None = None) -> AccessPolicy:
    """Requests to this one host and port, and no redirect. `ca_file` is `SUSY_CA_FILE`."""
    parsed = parse_url(url)
    return AccessPolicy(
        hosts=(parsed.host,),
        networks=PRIVATE_NETWORKS if allow_private else (),
        http=allow_private,
        ports=frozenset({parsed.port}),
        max_redirects=0,
        ca_file=ca_file,
    )
