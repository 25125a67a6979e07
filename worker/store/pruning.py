"""Deleting checks that ended long ago with all that belongs to them, a bounded batch per transaction.

What ended is deleted, oldest first, whatever interrupts it: a repeated call continues where the last commit was.
Workers are not disturbed, since no check that waits or runs is looked at; a scan that one is about to use stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from schema.states import CheckState, Decision, Lane
from worker.store import queries
from worker.store.connection import Connection
from worker.store.database import PATIENT, Database, scalars

_NOTHING = UUID(int=0)
_EARLIEST = datetime.fromisoformat("0001-01-01T00:00:00+00:00")
# The indexes of checks that are done or expired begin with the lane.
_PARTS: tuple[tuple[CheckState, Lane | None], ...] = (
    *((state, lane) for state in (CheckState.DONE, CheckState.EXPIRED) for lane in Lane),
    (CheckState.QUARANTINED, None),
    (CheckState.CANCELLED, None),
)


@dataclass(frozen=True)
class PruneFilter:
    """Which checks are deleted."""

    before: datetime
    """Those that ended before this time."""
    keep_reviewed: bool = False
    """But none that a person has reviewed."""
    keep_decisions: tuple[Decision, ...] = ()
    """And none about which the live verdict or a person decided this."""
    source: str | None = None
    """Only those of this source."""
    keep_waiting: bool = False
    """And none that waits for a person to review it."""


@dataclass(frozen=True)
class Pruned:
    """How many rows were deleted."""

    checks: int = 0
    verdicts: int = 0
    scans: int = 0
    reviews: int = 0
    events: int = 0
    deliveries: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def prune(database: Database, where: PruneFilter, *, batch: int, dry_run: bool) -> Iterator[Pruned]:
    """Delete what matches; what each batch of at most so many checks deleted. A dry run counts checks alone."""
    for state, lane in _PARTS:
        after, after_id = _EARLIEST, _NOTHING
        while True:
            part = {"state": str(state), "before": where.before}
            values = {**part, "lane": lane and str(lane), "after": after, "after_id": after_id, "limit": batch}
            candidates: list[tuple[UUID, datetime]] = database.rows(
                queries.PRUNE_CANDIDATES, values, _candidate, PATIENT
            )
            if not candidates:
                break
            after_id, after = candidates[-1]
            check_ids = [check_id for check_id, _ in candidates]
            if dry_run:
                confirm = _conditions(where) | {"check_ids": check_ids}
                yield Pruned(checks=len(database.scalars(queries.PRUNE_CONFIRM, confirm, PATIENT)))
            else:
                with database.connection(PATIENT) as connection, connection.transaction():
                    locked = scalars(connection, queries.PRUNE_LOCK, {**part, "check_ids": check_ids})
                    pruned = _prune_locked(connection, where, locked)
                yield pruned


def _prune_locked(connection: Connection, where: PruneFilter, locked: Sequence[UUID]) -> Pruned:
    chosen = {"check_ids": scalars(connection, queries.PRUNE_CONFIRM, _conditions(where) | {"check_ids": locked})}
    if not chosen["check_ids"]:
        return Pruned()
    deliveries = connection.execute(queries.PRUNE_DELIVERIES, chosen).rowcount
    events = connection.execute(queries.PRUNE_EVENTS, chosen).rowcount
    connection.execute(queries.PRUNE_ALLOW)
    connection.execute(queries.PRUNE_CLAIMS, chosen)
    connection.execute(queries.PRUNE_UNDONE_REVIEWS, chosen)
    reviews = connection.execute(queries.PRUNE_REVIEWS, chosen).rowcount
    scan_ids = scalars(connection, queries.PRUNE_VERDICTS, chosen)
    checks = connection.execute(queries.PRUNE_CHECKS, chosen).rowcount
    unused = scalars(connection, queries.PRUNE_LOCK_SCANS, {"scan_ids": sorted(set(scan_ids))})
    scans = connection.execute(queries.PRUNE_SCANS, {"scan_ids": unused}).rowcount
    pruned = Pruned(checks, len(scan_ids), scans, reviews, events, deliveries)
    details = asdict(pruned) | {
        "before": where.before.isoformat(),
        "keep_reviewed": where.keep_reviewed,
        "keep_decisions": [str(decision) for decision in where.keep_decisions],
        "source": where.source,
        "keep_waiting": where.keep_waiting,
    }
    connection.execute(queries.NOTE_PRUNED, {"checks": checks, "details": Jsonb(details)})
    return pruned


def _conditions(where: PruneFilter) -> dict[str, object]:
    return {
        "keep_reviewed": where.keep_reviewed,
        "keep_decisions": [str(decision) for decision in where.keep_decisions],
        "source": where.source,
        "keep_waiting": where.keep_waiting,
    }


def _candidate(*, id: UUID, finished_at: datetime) -> tuple[UUID, datetime]:
    return id, finished_at
