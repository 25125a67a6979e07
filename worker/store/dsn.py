"""Where a database is: how to connect to it, and how to name it without its secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from worker.errors import ConfigurationError, ErrorCode

CONNECT_TIMEOUT = 5
"""Seconds to wait for one server to accept a connection."""
_DEFAULTS: dict[str, str | int] = {
    "fallback_application_name": "susy-worker",
    "connect_timeout": CONNECT_TIMEOUT,
    # A host that vanished without a word (power, network) is noticed in seconds rather than after two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}


@dataclass(frozen=True)
class Dsn:
    """A database URL taken apart."""

    place: str
    """Host, port and database, for messages. Never a user's password."""
    given: frozenset[str]
    """Names of the parameters that the URL sets itself."""

    @classmethod
    def of(cls, database_url: str) -> Self:
        try:
            parts = conninfo_to_dict(database_url)
        except psycopg.Error:
            # libpq's own text may repeat the URL.
            raise ConfigurationError(ErrorCode.SETTINGS, "the database URL is no valid Postgres URL") from None
        host = parts.get("host") or parts.get("hostaddr") or "the local socket"
        port = f":{parts['port']}" if parts.get("port") else ""
        database = parts.get("dbname") or parts.get("user") or "the user's database"
        return cls(f"{host}{port}/{database}", frozenset(parts))

    def defaults(self) -> dict[str, Any]:
        """Connection parameters that the URL leaves open."""
        return {name: value for name, value in _DEFAULTS.items() if name not in self.given}
