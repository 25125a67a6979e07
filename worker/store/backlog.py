"""Counting what waits, and putting chosen checks back or taking them out, a bounded step at a time."""

from __future__ import annotations

from dataclasses import asdict

from schema.states import CheckState, Lane
from worker.store import backlog_queries as queries
from worker.store.database import Connection, Database, rows
from worker.store.types import BacklogStatus, CheckFilter, LaneBacklog, LaneStatus, QuarantineCount

EXACT_UP_TO = 100_000
"""Waiting checks of a lane that are counted one by one; of a longer lane the length is estimated."""
RATE_WINDOW = 300.0
"""Seconds over which the rate of finished checks is taken."""


def status(database: Database) -> BacklogStatus:
    """What waits, how fast it drains and what was set aside. Quick however much waits."""
    with database.connection() as connection:
        return BacklogStatus(
            lanes=tuple(_lane_status(connection, lane) for lane in Lane),
            quarantined=tuple(rows(connection, queries.QUARANTINED, {}, QuarantineCount)),
            rejected_messages=rows(connection, queries.REJECTED, {}, lambda *, count: int(count))[0],
        )


def count(database: Database, state: CheckState, choice: CheckFilter) -> int:
    """How many checks in this state are chosen."""
    return sum(database.scalars(queries.count(where), asdict(choice))[0] for where in _parts(state, choice))


def requeue(database: Database, state: CheckState, choice: CheckFilter, limit: int) -> int:
    """Queue up to `limit` of the chosen checks in this state again, with all their attempts."""
    return _change(database, state, choice, queries.REQUEUE, limit)


def cancel(database: Database, choice: CheckFilter, limit: int) -> int:
    """Take up to `limit` of the chosen queued checks out, so that they are never looked at."""
    return _change(database, CheckState.QUEUED, choice, queries.CANCEL, limit)


def lane_backlog(*, lane: str, queued: int, due: int, running: int, oldest_age: float | None) -> LaneBacklog:
    """Make a lane's backlog of the columns of `dashboard.backlog`."""
    return LaneBacklog(Lane(lane), queued, due, running, oldest_age)


def _lane_status(connection: Connection, lane: Lane) -> LaneStatus:
    def make(
        *,
        waiting: int,
        estimate: int,
        dispatched: int,
        running: int,
        done_per_minute: float | None,
        oldest_age: float | None,
    ) -> LaneStatus:
        is_exact = waiting < EXACT_UP_TO
        queued = dispatched + (waiting if is_exact else max(waiting, estimate))
        rate = done_per_minute or 0.0
        return LaneStatus(
            lane=lane,
            queued=queued,
            queued_is_exact=is_exact,
            running=running,
            done_per_minute=rate,
            oldest_age=oldest_age if oldest_age is not None and oldest_age >= 0 else None,
            drained_in=(queued + running) / rate * 60 if rate else None,
        )

    values = {"exact_up_to": EXACT_UP_TO, "window": RATE_WINDOW}
    return rows(connection, queries.STATUS[lane], values, make)[0]


def _change(database: Database, state: CheckState, choice: CheckFilter, changes: str, limit: int) -> int:
    for where in _parts(state, choice):
        changed = database.count(queries.change(where, changes), {**asdict(choice), "limit": limit})
        if changed:
            return changed
    return 0


_FILTERS = {
    "check_ids": "id = ANY (%(check_ids)s)",
    "code": "error_code = %(code)s",
    "source": "source = %(source)s",
    "lane": "lane = %(lane)s",
}


def _parts(state: CheckState, choice: CheckFilter) -> list[str]:
    """Conditions that together name each chosen check of a state once. Only fixed text; values go as parameters."""
    since = "created_at" if state is CheckState.QUEUED else "finished_at"
    filters = [condition for name, condition in _FILTERS.items() if getattr(choice, name) is not None]
    if choice.since is not None:
        filters.append(f"{since} >= %(since)s")
    if choice.until is not None:
        filters.append(f"{since} <= %(until)s")
    return [" AND ".join([part, *filters]) for part in queries.PARTS[state]]
