"""The statements that feed, count and work a backlog. Lanes are written out, as the partial indexes have them."""
# ruff: noqa: S608 (statements are put together from fixed texts; every value is a parameter)

from __future__ import annotations

from schema.states import CheckState, Lane

WAITING = {lane: f"state = 'queued' AND dispatched_at IS NULL AND lane = '{lane}'" for lane in Lane}
"""What waits for its turn, as `ix_checks_waiting_…` has it."""
DISPATCHED = "state = 'queued' AND dispatched_at IS NOT NULL"
"""What is on its way through Redis, as `ix_checks_dispatched` has it."""

PARTS = {
    CheckState.QUEUED: (*WAITING.values(), DISPATCHED),
    CheckState.QUARANTINED: ("state = 'quarantined'",),
    CheckState.CANCELLED: ("state = 'cancelled'",),
}
"""Conditions that together name every check of a state once, each with an index of its own."""


def _sources(lane: Lane) -> str:
    """Every source with waiting checks, by one step down the index for each, however many checks it has."""
    return f"""sources (source) AS (
    (SELECT source FROM susy.checks WHERE {WAITING[lane]} ORDER BY source LIMIT 1)
    UNION ALL
    SELECT (
        SELECT source FROM susy.checks WHERE {WAITING[lane]} AND source > s.source ORDER BY source LIMIT 1
    ) FROM sources AS s WHERE s.source IS NOT NULL
)"""


# --- Feeding ---------------------------------------------------------------------------------------------------------


# One check of each source in turn, a source's oldest first. At most about eight times as many are looked at as are
# taken. Ids go through arrays, so that no plan ever reads the whole table.
def _take_due(lane: Lane) -> str:
    return f"""
WITH RECURSIVE {_sources(lane)}, share (most) AS (
    SELECT least(%(limit)s::bigint, ceil(8.0 * %(limit)s::bigint / greatest(count(source), 1))::bigint) FROM sources
), candidates AS (
    SELECT queue.id, queue.turn, queue.next_attempt_at
    FROM share CROSS JOIN sources AS s CROSS JOIN LATERAL (
        SELECT id, next_attempt_at, row_number() OVER (ORDER BY next_attempt_at) AS turn
        FROM susy.checks WHERE {WAITING[lane]} AND source = s.source AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT share.most
    ) AS queue
    WHERE s.source IS NOT NULL
    ORDER BY turn, next_attempt_at, id LIMIT %(limit)s
), chosen AS (
    SELECT id FROM susy.checks
    WHERE id = ANY (ARRAY(SELECT id FROM candidates)) AND {WAITING[lane]} FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE susy.checks SET dispatched_at = clock_timestamp() WHERE id = ANY (ARRAY(SELECT id FROM chosen)) RETURNING id
)
SELECT id FROM candidates JOIN taken USING (id) ORDER BY turn, next_attempt_at, id
"""


TAKE_DUE = {lane: _take_due(lane) for lane in Lane}

FORGET_DISPATCHED = f"""
UPDATE susy.checks SET dispatched_at = NULL WHERE id = ANY (ARRAY(
    SELECT id FROM susy.checks
    WHERE {DISPATCHED} AND lane = %(lane)s AND dispatched_at < now() - make_interval(secs => %(age)s)
    ORDER BY dispatched_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
))
"""

# --- Counting --------------------------------------------------------------------------------------------------------


# Rows are counted up to a bound. Beyond it the index's size, and how many rows Postgres last found on its pages, tell.
def _status(lane: Lane) -> str:
    return f"""
WITH RECURSIVE {_sources(lane)}, heads AS (
    SELECT (
        SELECT next_attempt_at FROM susy.checks
        WHERE {WAITING[lane]} AND source = s.source ORDER BY next_attempt_at LIMIT 1
    ) AS due_at FROM sources AS s WHERE s.source IS NOT NULL
    UNION ALL
    SELECT min(next_attempt_at) FROM susy.checks WHERE {DISPATCHED} AND lane = '{lane}'
), lately AS (
    SELECT count(*) AS done, extract(epoch FROM now() - min(finished_at)) AS age
    FROM susy.checks
    WHERE state = 'done' AND lane = '{lane}' AND finished_at > now() - make_interval(secs => %(window)s)
)
SELECT
    (SELECT count(*) FROM (SELECT FROM susy.checks WHERE {WAITING[lane]} LIMIT %(exact_up_to)s) AS w) AS waiting,
    (
        SELECT greatest(reltuples, 0) / greatest(relpages, 1)
            * (pg_relation_size(oid) / current_setting('block_size')::int)
        FROM pg_class WHERE oid = 'susy.ix_checks_waiting_{lane}'::regclass
    )::bigint AS estimate,
    (SELECT count(*) FROM susy.checks WHERE {DISPATCHED} AND lane = '{lane}') AS dispatched,
    (SELECT count(*) FROM susy.checks WHERE state = 'running' AND lane = '{lane}') AS running,
    (SELECT done * 60 / greatest(60, age) FROM lately)::float8 AS done_per_minute,
    (SELECT extract(epoch FROM now() - min(due_at)) FROM heads)::float8 AS oldest_age
"""


STATUS = {lane: _status(lane) for lane in Lane}

# One row a lane, as dashboards see it: every check counted.
BACKLOG = (
    "SELECT lane, queued, due, running, oldest_age_seconds AS oldest_age FROM dashboard.backlog ORDER BY lane DESC"
)

QUARANTINED = """
SELECT error_code AS code, count(*) AS checks FROM susy.checks
WHERE state = 'quarantined' GROUP BY error_code ORDER BY count(*) DESC, error_code
"""

REJECTED = "SELECT count(*) FROM susy.rejected_messages"

# Tells the planner, and thereby STATUS, what an import has changed.
ANALYZE = "ANALYZE susy.checks"

NOW = "SELECT clock_timestamp()"

# --- Working ---------------------------------------------------------------------------------------------------------


def count(where: str) -> str:
    """How many checks a condition names."""
    return f"SELECT count(*) FROM susy.checks WHERE {where}"


def change(where: str, changes: str) -> str:
    """Change up to `limit` of the checks that a condition names, leaving out those that somebody else holds."""
    return f"""
UPDATE susy.checks SET {changes} WHERE id = ANY (ARRAY(
    SELECT id FROM susy.checks WHERE {where} LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
))
"""


REQUEUE = """
    state = 'queued', attempts = 0, next_attempt_at = clock_timestamp(), dispatched_at = NULL, finished_at = NULL
"""
CANCEL = "state = 'cancelled', finished_at = clock_timestamp()"
