"""API keys in memory: each request finds its key without a query, and a revoked key is refused within 10 s."""

from __future__ import annotations

import asyncio
import hmac
import time
from uuid import UUID

from starlette.concurrency import run_in_threadpool

from worker.errors import ErrorCode, SusyError
from worker.log import get_logger
from worker.serve.problems import RefusedError
from worker.store import ApiKey
from worker.store.keys import KeyTable, key_digest

log = get_logger(__name__)

REFRESH_AFTER = 3.0
"""Seconds after which the keys are read again, while requests go on with those in memory."""
MAX_AGE = 8.0
"""Seconds after which requests wait for the keys to be read again. If they cannot be read, all requests are refused."""
MIN_AGE = 0.1
"""Seconds between two readings because of unknown keys: any number of guesses costs ten queries per second."""


class KeyRing:
    """The keys of the ledger, read again and again. For one event loop."""

    def __init__(self, table: KeyTable) -> None:
        self._table = table
        self._keys: dict[bytes, ApiKey] = {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._used: set[UUID] = set()

    async def find(self, key: str) -> ApiKey:
        """The valid key whose secret is `key`.

        Raises `RefusedError` (`unknown_key`, `revoked_key`, `expired_key`), and what `Store` raises when the keys
        cannot be read.
        """
        arrived_at = time.monotonic()
        age = arrived_at - self._read_at
        if age > MAX_AGE:
            await self.read()
        elif age > REFRESH_AFTER:
            self._begin_reading()
        digest = key_digest(key)
        found = self._keys.get(digest)
        if found is None:  # it may have been created a moment ago
            await self._read_since(arrived_at)
            found = self._keys.get(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise RefusedError(ErrorCode.UNKNOWN_KEY, "there is no such API key; create one with `susy key create`")
        if found.revoked_at is not None:
            raise RefusedError(ErrorCode.REVOKED_KEY, f"the API key {found.name!r} was revoked; use another one")
        if found.is_expired:
            raise RefusedError(ErrorCode.EXPIRED_KEY, f"the API key {found.name!r} has expired; create another one")
        self._used.add(found.id)
        return found

    @property
    def has_keys(self) -> bool:
        """Whether any key is valid."""
        return any(key.revoked_at is None and not key.is_expired for key in self._keys.values())

    async def read(self) -> None:
        """Read the keys; a reading that is under way is waited for."""
        await asyncio.shield(self._begin_reading())

    async def _read_since(self, moment: float) -> None:
        """Read the keys by a query that begins after `moment`, together with all who ask for that."""
        while self._read_at < moment:
            await asyncio.sleep(max(0.0, self._read_at + MIN_AGE - time.monotonic()))
            if self._read_at < moment:
                await self.read()

    def _begin_reading(self) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(_log_failure)
        return self._reading

    async def _read(self) -> None:
        began = time.monotonic()
        used, self._used = self._used, set()
        found = await run_in_threadpool(self._read_table, used)
        self._keys = {key.digest: key for key in found}
        self._read_at = began

    def _read_table(self, used: set[UUID]) -> list[ApiKey]:
        if used:
            self._table.touch(used)
        return self._table.all()


def _log_failure(reading: asyncio.Task[None]) -> None:
    """Also marks the failure as seen where nothing waits for it."""
    if not reading.cancelled() and isinstance(error := reading.exception(), SusyError):
        log.warning("keys_not_read", code=str(error.code), error=error.message)
