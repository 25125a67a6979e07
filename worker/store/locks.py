"""The advisory locks this program takes. Postgres keeps them per database and frees them with their connection."""

from __future__ import annotations

from typing import NamedTuple


class AdvisoryLock(NamedTuple):
    """Two 32-bit numbers that name a lock."""

    space: int
    key: int


_SPACE = int.from_bytes(b"susy")
"""Keeps our locks apart from those of other programs in the same database."""

LEADER_LOCK = AdvisoryLock(_SPACE, 1)
"""Held by the reconciler that leads."""
MIGRATION_LOCK = AdvisoryLock(_SPACE, 2)
"""Held while migrations run."""
