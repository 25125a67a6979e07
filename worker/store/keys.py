"""API keys in the ledger: only their digests are stored.

A key is 32 bytes from the operating system's random source, written in base64url. Its SHA-256 is what the ledger holds.
A slow hash with a salt, as passwords need, would add nothing: nobody can guess 256 random bits, and no two keys are
alike. A fast one lets every request be authenticated by one look into a table in memory.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from schema.access import Scope
from worker.errors import ErrorCode, PermanentError
from worker.store import queries
from worker.store.database import Database

PREFIX = "susy_"
"""How every key begins, so that scanners for leaked secrets recognize one."""
_BYTES = 32
MAX_NAME = 100
MAX_SOURCE = 200


@dataclass(frozen=True)
class ApiKey:
    """A key as the ledger holds it, which does not allow anybody to use it."""

    id: UUID
    name: str
    digest: bytes
    """SHA-256 of the key."""
    scopes: frozenset[Scope]
    sources: frozenset[str] | None
    """The sources that it may submit for and read; None for all."""
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To about a minute."""
    is_expired: bool
    """When it was read, by the database's clock."""

    def may(self, scope: Scope) -> bool:
        """Whether it has the scope, or `admin`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def may_use(self, source: str) -> bool:
        """Whether it may submit for this source, and read its checks."""
        return self.sources is None or source in self.sources


def new_key() -> str:
    """A digest that no key has."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def key_digest(key: str) -> bytes:
    """What is stored of a key, and looked up: its SHA-256."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


class KeyTable:
    """The table of keys. Raises as `Store` does when Postgres is unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        name: str,
        scopes: Collection[Scope],
        *,
        sources: Collection[str] | None = None,
        lifetime: float | None = None,
    ) -> str:
        """Store a new key and return it: nobody can read it again. `lifetime` is in seconds; None is for ever.

        Raises `PermanentError`: `invalid_message` for a name, scopes or sources that cannot be, `conflict` when a key
        that is not revoked has the name.
        """
        _require_valid(name, scopes, sources)
        key = new_key()
        values = {
            "id": uuid7(),
            "name": name,
            "digest": key_digest(key),
            "scopes": sorted(map(str, scopes)),
            "sources": None if sources is None else sorted(sources),
            "lifetime": lifetime,
        }
        if not self._database.scalars(queries.ADD_KEY, values):
            raise PermanentError(
                ErrorCode.CONFLICT, f"there is a key named {name!r}; revoke it, or choose another name"
            )
        return key

    def all(self) -> list[ApiKey]:
        """Every key, revoked and expired ones included, the newest last."""
        return self._database.rows(queries.LIST_KEYS, {}, _api_key)

    def revoke(self, name: str) -> bool:
        """Refuse the key of this name from now on; False when there is none. Services notice within 10 s."""
        return bool(self._database.scalars(queries.REVOKE_KEY, {"name": name}))

    def touch(self, ids: Iterable[UUID]) -> None:
        """Note that these keys were used."""
        self._database.execute(queries.TOUCH_KEYS, {"ids": list(ids)})


def _require_valid(name: str, scopes: Collection[Scope], sources: Collection[str] | None) -> None:
    if not (name.isprintable() and 0 < len(name) <= MAX_NAME):
        raise PermanentError(
            ErrorCode.INVALID_MESSAGE, f"a key's name has 1 to {MAX_NAME} printable characters; choose another"
        )
    if not scopes:
        raise PermanentError(ErrorCode.INVALID_MESSAGE, f"a key needs a scope: {', '.join(Scope)}")
    for source in sources or ():
        if not (source.isprintable() and 0 < len(source) <= MAX_SOURCE):
            raise PermanentError(
                ErrorCode.INVALID_MESSAGE, f"a source has 1 to {MAX_SOURCE} printable characters: {source!r}"
            )
    if sources is not None and not sources:
        raise PermanentError(ErrorCode.INVALID_MESSAGE, "an empty list of sources would allow nothing; leave it out")


def _api_key(*, scopes: list[str], sources: list[str] | None, **columns: object) -> ApiKey:
    return ApiKey(
        scopes=frozenset(map(Scope, scopes)),
        sources=None if sources is None else frozenset(sources),
        **columns,  # type: ignore[arg-type]
    )
