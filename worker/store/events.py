"""Events of checks: what was written when a check ended, given a position and data, and read in order.

An event is written in the transaction that ends the check, by a trigger. Concurrent transactions do not commit in the
order of their events' ids, so a reader that remembers the last id would miss what commits later. Therefore positions
are given afterwards, by one session at a time: when a position can be read, all smaller ones could be read before.
(Transaction ids are not used as positions, because a database that is restored from a dump starts again with small ones
and because one long transaction would hold back every reader.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from worker.store import queries
from worker.store.database import EVENTS_LOCK, PATIENT, Database, scalars

NUMBERED_AT_ONCE = 500
"""Events that get their positions in one transaction."""
LOOKED_BACK = 10_000
"""Ids before that of the latest position among which events without one are looked for each time. An event whose
transaction was open for longer than so many others is found by the reconciler, which looks at all of them."""
ALL = 2**62
"""For `back`: look at all events."""


@dataclass(frozen=True, eq=False)
class Event:
    """What happened to a check."""

    position: int
    """Place in the order of all events, 1 or more, with gaps."""
    id: int
    """Increases with every event of the same check."""
    check_id: UUID
    type: str
    """`image.verdict.created`, `image.check.quarantined`, … (`schema.states.EventType`)."""
    created_at: datetime
    data: Mapping[str, Any]
    """The check as it was then, with its verdict if it is done. Never changed."""

    @property
    def message_id(self) -> str:
        """What identifies the event to receivers: the header `webhook-id`."""
        return message_id(self.check_id, self.id)


def message_id(check_id: UUID, event_id: int) -> str:
    """The id of an event outside the ledger. Unique among all ledgers; without dots, which signatures forbid."""
    return f"evt_{check_id.hex}_{event_id}"


def number_events(
    database: Database, *, limit: int = NUMBERED_AT_ONCE, ahead: float = 0.0, back: int = LOOKED_BACK
) -> int:
    """Give up to `limit` new events their positions, and hand them to their endpoints; how many.

    0 as well when another session is doing it.
    """
    with database.connection(PATIENT) as connection:
        beyond = scalars(connection, queries.EVENTS_WITHOUT_POSITION, {"back": back})
        if not beyond:
            return 0
        with connection.transaction():
            if not scalars(connection, queries.TRY_LOCK_EVENTS, EVENTS_LOCK._asdict())[0]:
                return 0
            event_ids = scalars(connection, queries.NUMBER_EVENTS, {"limit": limit, "beyond": beyond[0]})
            values = {"event_ids": event_ids, "ahead": ahead}
            if connection.execute(queries.FAN_OUT, values).rowcount:
                connection.execute(queries.SUPERSEDE, values)
        return len(event_ids)


def events_after(database: Database, after: int, *, limit: int, sources: Sequence[str] | None) -> tuple[Event, ...]:
    """Up to `limit` events after a position, in order; only those of `sources`, if given."""
    number_events(database)
    values = {"after": after, "limit": limit, "sources": None if sources is None else list(sources)}
    return tuple(database.rows(queries.EVENTS_AFTER, values, Event))
