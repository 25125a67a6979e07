"""What the ledger remembers of object storage: the latest event of each object, and how far a sweep has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worker.store import queries
from worker.store.database import PATIENT, Database

SEQUENCER_LIFETIME = 30 * 86_400.0
"""Seconds for which an object's latest event is remembered. No queue delivers later."""
FORGET_AT_ONCE = 1000


class HookTable:
    """The tables of events and sweeps. Raises as `Store` does when Postgres is unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note_sequencers(self, newest: Mapping[bytes, str]) -> dict[bytes, str]:
        """Remember the sequencer of each object (a digest) unless a later one is known; the latest of each."""
        values = {"objects": list(newest), "sequencers": list(newest.values())}
        return dict(self._database.rows(queries.NOTE_SEQUENCERS, values, _pair))

    def forget_sequencers(self) -> int:
        """Delete up to a thousand that are older than 30 days; how many."""
        values = {"age": SEQUENCER_LIFETIME, "limit": FORGET_AT_ONCE}
        return self._database.execute(queries.FORGET_SEQUENCERS, values, PATIENT)

    def known(self, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these pairs of source and external id that a check has."""
        values = {"sources": [source for source, _ in keys], "external_ids": [name for _, name in keys]}
        return set(self._database.rows(queries.KNOWN_CHECKS, values, _key)) if keys else set()

    def begin_sweep(self, location: str) -> str | None:
        """The key after which to continue; None to begin at the first."""
        found: list[str | None] = self._database.scalars(queries.BEGIN_SWEEP, {"location": location})
        return found[0]

    def note_sweep(self, location: str, after_key: str | None) -> None:
        """Everything up to `after_key` is in the ledger; None for everything."""
        self._database.execute(queries.NOTE_SWEEP, {"location": location, "after_key": after_key})


def _pair(*, object: bytes, sequencer: str) -> tuple[bytes, str]:
    return bytes(object), sequencer


def _key(*, source: str, external_id: str) -> tuple[str, str]:
    return source, external_id
