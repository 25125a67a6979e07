"""Reviews beyond those of single checks: bulk reviews, what is undone, golden items, and how reviewers compare."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from schema.states import CheckState, Decision
from worker.errors import ErrorCode, PermanentError
from worker.store import queries
from worker.store.connection import Connection
from worker.store.database import PATIENT, Database, rows

MAX_BATCH = 10_000
"""Most checks of one bulk review: one transaction, which holds a lock on each."""


@dataclass(frozen=True)
class ReviewFilter:
    """Selects checks that have ended and match everything that is set."""

    source: str | None = None
    decision: Decision | None = None
    """Of the verdict."""
    policy: str | None = None
    generator: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    since: datetime | None = None
    """With `until`, inclusive: when the check was accepted."""
    until: datetime | None = None
    state: CheckState | None = None
    reviewed_too: bool = False
    """Also checks that a person has decided about, whose decision is overridden."""
    sources: tuple[str, ...] | None = None
    """Any of these."""

    def document(self) -> dict[str, Any]:
        """What is set, as JSON: what is stored of a bulk review, and selects its checks."""
        set_ = {name: value for name, value in vars(self).items() if value not in (None, False)}
        return {name: _json(value) for name, value in set_.items()}


def _json(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case StrEnum():
            return str(value)
        case tuple():
            return list(value)
    return value


@dataclass(frozen=True)
class MatchCount:
    """Checks of one source and one decision that a bulk review would decide."""

    source: str
    decision: str | None
    """Of the verdict; None without one."""
    checks: int


@dataclass(frozen=True)
class Undo:
    """What an undo did."""

    undo_id: UUID
    reviews: int


@dataclass(frozen=True)
class StoredReview:
    """What one person decided about one check."""

    id: UUID
    reviewer: str
    decision: str
    note: str | None
    created_at: datetime
    batch_id: UUID | None
    """The bulk review that it is a part of."""
    undone_at: datetime | None
    """Since when it does not count any more."""


@dataclass(frozen=True)
class Agreement:
    """How far two people agree, or without names all of them. The coefficients are None where they are undefined."""

    reviewer: str | None
    other_reviewer: str | None
    reviewers: int
    checks: int
    agreement: float
    cohens_kappa: float | None
    krippendorffs_alpha: float | None


@dataclass(frozen=True)
class Accuracy:
    """How often one person was right about golden items, with the 95 % interval of the share."""

    reviewer: str
    answers: int
    correct: int
    inconclusive: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True)
class GoldenItem:
    """A check whose answer is known, and how often it was given."""

    check_id: UUID
    decision: str
    source: str
    uri: str
    answers: int
    correct: int


@dataclass(frozen=True)
class _GoldenState:
    is_usual: bool
    reviewed: str | None
    known: str | None


class ReviewTable:
    """The part of a store that holds what people decided; raises as its store does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, where: ReviewFilter) -> list[MatchCount]:
        """How many checks a bulk review would decide, by source and decision, the most first."""
        return self._database.rows(queries.COUNT_FOR_REVIEW, {"filters": Jsonb(where.document())}, MatchCount, PATIENT)

    def add_batch(
        self,
        where: ReviewFilter,
        *,
        reviewer: str,
        decision: Decision,
        note: str | None = None,
        limit: int | None = None,
        batch_id: UUID | None = None,
    ) -> tuple[UUID, int]:
        """Review every check that matches, in one transaction; the id of the whole, and how many there were.

        With `limit`, at most that many, those that were accepted first. With `batch_id`, which becomes the id, a call
        that is repeated reviews nothing again. Raises `PermanentError`: `too_many_checks` without a limit when more
        than `MAX_BATCH` match, `unknown_check` when none does, `conflict` when the id is that of another bulk review;
        nothing is written then.
        """
        batch_id = batch_id or uuid4()
        values = {
            "batch_id": batch_id,
            "filters": Jsonb(where.document()),
            "decision": str(decision),
            "reviewer": reviewer,
            "note": note,
            "limit": limit,
            "most": MAX_BATCH,
        }
        [count] = self._database.scalars(queries.REVIEW_IN_BULK, values, PATIENT)
        return batch_id, count

    def of_check(self, check_id: UUID, *, after: UUID | None = None, limit: int = 100) -> list[StoredReview]:
        """Reviews of a check, undone ones included, in the order in which they were added, after the given one."""
        values = {"check_id": check_id, "after": after, "limit": limit}
        return self._database.rows(queries.LIST_REVIEWS, values, StoredReview)

    def undo(self, target: UUID, *, by: str, reason: str) -> Undo:
        """Let a review, or what is left of a bulk review, not count any more; earlier reviews count again.

        Raises `PermanentError`: `unknown_review`, or `conflict` when it was undone before.
        """
        values = {"target": target, "by": by, "reason": reason}
        return self._database.rows(queries.UNDO_REVIEWS, values, Undo, PATIENT)[0]

    def agreement(self, *, since: datetime | None = None, source: str | None = None) -> list[Agreement]:
        """Of all reviewers, then of each two of them that decided about the same checks; empty without such checks."""
        return self._database.rows(queries.REVIEWER_AGREEMENT, {"since": since, "source": source}, Agreement, PATIENT)

    def accuracy(self) -> list[Accuracy]:
        """Of everybody who answered golden items, those with the most answers first."""
        return self._database.rows(queries.REVIEWER_ACCURACY, {}, Accuracy)

    def golden_items(self) -> list[GoldenItem]:
        """The checks whose answers are known."""
        return self._database.rows(queries.GOLDEN_ITEMS, {}, GoldenItem)

    def add_golden(self, check_id: UUID, *, by: str, reason: str) -> Decision:
        """Let a reviewed check be a golden item of the decision that its review made; that decision.

        Raises `PermanentError`: `unknown_check`, `not_reviewed`, or `conflict` when it is one of that decision, or has
        no verdict that asks for a review, by which moderators would recognize it.
        """
        with self._database.connection() as connection, connection.transaction():
            state = _golden_state(connection, check_id)
            if state.reviewed is None:
                raise PermanentError(
                    ErrorCode.NOT_REVIEWED,
                    f"nobody has reviewed check {check_id}, so its answer is not known; review it first with "
                    "`susy review CHECK_ID DECISION --by NAME`",
                )
            if not state.is_usual:
                raise PermanentError(
                    ErrorCode.CONFLICT,
                    f"check {check_id} would be recognized: its verdict asks for no review, or it has none, while all "
                    "others that moderators are given ask for one; add one that does",
                )
            if state.known == state.reviewed:
                raise PermanentError(ErrorCode.CONFLICT, f"check {check_id} is a golden item already: {state.known}")
            values = {"check_id": check_id, "decision": state.reviewed, "by": by, "reason": reason}
            connection.execute(queries.CHANGE_GOLDEN, values)
        return Decision(state.reviewed)

    def remove_golden(self, check_id: UUID, *, by: str, reason: str) -> None:
        """Let a check not be a golden item any more; its answers stay.

        Raises `PermanentError`: `unknown_check`, also when it is none.
        """
        with self._database.connection() as connection, connection.transaction():
            state = _golden_state(connection, check_id)
            if state.known is None:
                raise PermanentError(ErrorCode.UNKNOWN_CHECK, f"check {check_id} is not a golden item")
            values = {"check_id": check_id, "decision": None, "by": by, "reason": reason}
            connection.execute(queries.CHANGE_GOLDEN, values)


def _golden_state(connection: Connection, check_id: UUID) -> _GoldenState:
    found = rows(connection, queries.GOLDEN_STATE, {"check_id": check_id}, _GoldenState)
    if not found:
        raise PermanentError(ErrorCode.UNKNOWN_CHECK, f"no check has the id {check_id}")
    return found[0]
