"""What moderators' tools do: claim checks, decide about them, give them back. Functions of the database decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from schema.states import Decision
from worker.store import queries
from worker.store.database import Database


@dataclass(frozen=True)
class ReviewClaim:
    """A check that one moderator, and nobody else, is given for a time.

    It has the same members for a first, a second and a third review, and for a check whose answer is known.
    """

    claim_id: UUID
    claimed_until: datetime
    check_id: UUID
    source: str
    external_id: str
    uri: str
    lane: str
    attributes: Mapping[str, Any]
    why: str
    """`policy` when the verdict asks for a review, `audit` otherwise."""
    decision: str | None
    """Of the verdict; None without one, as are the members up to `reviewed_before`."""
    score: float | None
    generator: str | None
    generator_confidence: float | None
    reasons: list[str] | None
    regions: list[dict[str, Any]] | None
    width: int | None
    height: int | None
    reviewed_before: str | None
    """What was decided about another check of the same image, where a second person is not to be kept from it."""


class ClaimTable:
    """The part of a store that gives checks to moderators; raises as its store does.

    Every method names the moderator. Raises `PermanentError`: `claim_ended` when that person does not hold the claim,
    `invalid_message` for a name that nobody can have.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self, moderator: str, filters: Mapping[str, Any], *, seconds: int, request_id: UUID | None = None
    ) -> ReviewClaim | None:
        """The next check that matches `filters`, for 1 to 86400 seconds; None when none waits.

        With `request_id`, which becomes the claim's id, a call that is repeated answers with the same claim. Raises
        `too_many_claims` when the moderator holds 50, `invalid_message` for a filter that does not exist.
        """
        values = {
            "moderator": moderator,
            "filters": Jsonb(dict(filters)),
            "seconds": seconds,
            "request_id": request_id,
        }
        return self._database.row(queries.CLAIM_REVIEW, values, ReviewClaim)

    def held(self, moderator: str) -> list[ReviewClaim]:
        """What a moderator holds, what ends first first."""
        return self._database.rows(queries.HELD_CLAIMS, {"moderator": moderator}, ReviewClaim)

    def require(self, claim_id: UUID, moderator: str) -> UUID:
        """The check of a claim that the moderator holds."""
        check_id: UUID = self._one(queries.REQUIRE_CLAIM, claim_id=claim_id, moderator=moderator)
        return check_id

    def decide(self, claim_id: UUID, moderator: str, decision: Decision, note: str | None = None) -> UUID:
        """The id of the review. The same decision once more answers with the same id."""
        values = {"claim_id": claim_id, "moderator": moderator, "decision": str(decision), "note": note}
        review_id: UUID = self._one(queries.DECIDE_CLAIM, **values)
        return review_id

    def extend(self, claim_id: UUID, moderator: str, *, seconds: int) -> datetime:
        """Keep it for so many seconds from now; when it ends then."""
        ends: datetime = self._one(queries.EXTEND_CLAIM, claim_id=claim_id, moderator=moderator, seconds=seconds)
        return ends

    def skip(self, claim_id: UUID, moderator: str, *, reason: str) -> None:
        """Give it back for others, and say why."""
        self._one(queries.SKIP_CLAIM, claim_id=claim_id, moderator=moderator, reason=reason)

    def release(self, claim_id: UUID, moderator: str) -> None:
        """Give it back."""
        self._one(queries.RELEASE_CLAIM, claim_id=claim_id, moderator=moderator)

    def review(
        self, check_id: UUID, *, reviewer: str, decision: Decision, note: str | None, request_id: UUID | None
    ) -> UUID:
        """Review a check, with or without a claim on it; the review's id.

        With `request_id`, which becomes the review's id, a call that is repeated adds nothing. Raises `unknown_check`,
        `check_not_ended`, or `conflict` when the id is that of another review.
        """
        values = {
            "check_id": check_id,
            "reviewer": reviewer,
            "decision": str(decision),
            "note": note,
            "request_id": request_id,
        }
        review_id: UUID = self._one(queries.REQUESTED_REVIEW, **values)
        return review_id

    def undo(self, review_id: UUID, *, reviewer: str, reason: str) -> None:
        """Let a review that this person gave not count any more. Raises `unknown_review`, or `conflict` when undone."""
        self._one(queries.UNDO_OWN_REVIEW, review_id=review_id, reviewer=reviewer, reason=reason)

    def sources(self, target: UUID) -> frozenset[str]:
        """The sources of the checks of a claim, a review or a bulk review; none when there is no such thing."""
        return frozenset(self._database.scalars(queries.REVIEWED_SOURCES, {"target": target}))

    def _one(self, query: str, **values: Any) -> Any:
        return self._database.scalars(query, values)[0]
