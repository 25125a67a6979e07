"""The database URL: what to pass to libpq, and how to name the server without its secrets."""

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
    # A host that disappears without closing its connections (power, network) is noticed in seconds, not in two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}


@dataclass(frozen=True)
class Dsn:
    """A parsed database URL."""

    server: str
    """Host, port and database, for messages. Never a user or a password."""
    options: frozenset[str]
    """Names of the connection parameters that the URL sets."""

    @classmethod
    def parse(cls, database_url: str) -> Self:
        """Raises `ConfigurationError` when libpq cannot read the URL."""
        try:
            parts = conninfo_to_dict(database_url)
        except psycopg.Error:
            # libpq's own text may repeat the URL.
            raise ConfigurationError(ErrorCode.SETTINGS, "the database URL is not a valid Postgres URL") from None
        host = parts.get("host") or parts.get("hostaddr") or "the local socket"
        port = f":{parts['port']}" if parts.get("port") else ""
        database = parts.get("dbname") or parts.get("user") or "the user's database"
        return cls(f"{host}{port}/{database}", frozenset(parts))

    def defaults(self) -> dict[str, Any]:
        """Values for the connection parameters that the URL does not set."""
        return {name: value for name, value in _DEFAULTS.items() if name not in self.options}
