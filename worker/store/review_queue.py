"""The review queue as moderators' tools list it: page by page in the order of claims, and counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

from psycopg.types.json import Jsonb

from worker.store import queries
from worker.store.database import Database

MAX_PAGE = 500
"""Checks in one page."""
MAX_COUNT = 10_000
"""How far checks are counted."""


class QueuePlace(NamedTuple):
    """Where a check stands in the queue; the next page begins behind it. Ascending."""

    score_band: int
    """0 for scores of 0.95 and above, to 10 for those below 0.05 and for images that could not be scored."""
    reach_rank: float
    """Minus the attribute `reach`, 0 without one."""
    waiting_since: datetime
    check_id: UUID


@dataclass(frozen=True)
class QueuedReview:
    """A check that waits for its first review. What people have decided is not told."""

    check_id: UUID
    source: str
    external_id: str
    uri: str
    lane: str
    attributes: Mapping[str, Any]
    policy: str | None
    why: str
    """`policy` when the verdict asks for a review, `audit` otherwise."""
    decision: str | None
    """Of the verdict, as are the members up to `height`."""
    score: float | None
    generator: str | None
    generator_confidence: float | None
    reasons: list[str] | None
    width: int | None
    height: int | None
    waiting_since: datetime
    claimed_until: datetime | None
    """When somebody's claim on it ends; None when nobody has one."""

    @classmethod
    def parse(cls, item: Mapping[str, Any]) -> Self:
        """an item of REVIEW_QUEUE."""
        until = item["claimed_until"]
        return cls(
            **{name: value for name, value in item.items() if name != "place"}
            | {
                "check_id": UUID(item["check_id"]),
                "waiting_since": datetime.fromisoformat(item["waiting_since"]),
                "claimed_until": None if until is None else datetime.fromisoformat(until),
            }
        )


@dataclass(frozen=True)
class QueuePage:
    """A part of the queue."""

    checks: list[QueuedReview]
    """Fewer than were asked for, or none, where a filter matches few of those that were looked at."""
    next: QueuePlace | None
    """Where the next page begins; None at the end."""


@dataclass(frozen=True)
class WaitingCount:
    """How many checks wait."""

    why: str
    """`policy` or `audit`."""
    checks: int
    is_capped: bool
    """Whether there are more than `MAX_COUNT`."""
    oldest: datetime | None
    """Since when the oldest waits; None when none does."""


class ReviewQueue:
    """The part of a store that lists what waits for moderators; raises as its store does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, filters: Mapping[str, Any], *, after: QueuePlace | None = None, limit: int = 100) -> QueuePage:
        """Up to `limit` checks (1 to 500) that match the filters, which are those of claims.

        Raises `PermanentError` (`invalid_message`) for a filter that does not exist.
        """
        place = None if after is None else Jsonb([*after[:2], after.waiting_since.isoformat(), str(after.check_id)])
        values = {"filters": Jsonb(dict(filters)), "after": place, "limit": limit}
        [found] = self._database.scalars(queries.REVIEW_QUEUE, values)
        following = found["next"]
        return QueuePage(
            [QueuedReview.parse(item) for item in found["items"]],
            None
            if following is None
            else QueuePlace(
                int(following[0]), float(following[1]), datetime.fromisoformat(following[2]), UUID(following[3])
            ),
        )

    def count(self, sources: Collection[str] | None = None) -> list[WaitingCount]:
        """How many wait of these sources, or of all: first those of policies, then those of audits."""
        values = {"sources": None if sources is None else sorted(sources)}
        return self._database.rows(queries.COUNT_REVIEW_QUEUE, values, WaitingCount)
