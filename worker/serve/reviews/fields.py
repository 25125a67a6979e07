"""What requests about reviews have in common: their keys, the members of their bodies, the filters of the queue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, Field

from schema.access import Scope
from schema.messages import Moment, Text
from schema.states import Decision, Lane
from worker.errors import ErrorCode
from worker.serve.problems import RefusedError
from worker.serve.requests.authorization import authorized, require_source
from worker.store import ApiKey

MAX_SOURCES = 100

Moderator = Annotated[ApiKey, Depends(authorized(Scope.REVIEW))]
"""The key of a request that needs the scope `review`."""
Supervisor = Annotated[ApiKey, Depends(authorized(Scope.SUPERVISE))]
"""The key of a request that needs the scope `supervise`."""
Person = Annotated[Text, Field(min_length=1, max_length=200)]
"""The name of a person, for whom the tool vouches."""
Note = Annotated[Text, Field(max_length=10_000)]
Word = Annotated[Text, Field(min_length=1, max_length=200)]
Score = Annotated[float, Field(ge=0, le=1)]


class Body(BaseModel):
    """A JSON object whose members are all known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class QueueFilters(Body):
    """Which checks of the review queue are meant; all that is set must hold."""

    lane: Lane | None = None
    policy: Word | None = None
    decision: Annotated[Decision | None, Field(description="Of the verdict.")] = None
    generator: Word | None = None
    why: Annotated[
        Literal["policy", "audit"] | None, Field(description="Whether the policy asks for a review, or it is an audit.")
    ] = None
    min_score: Score | None = None
    max_score: Score | None = None
    since: Annotated[Moment | None, Field(description="Only checks that have waited since then or later.")] = None


def allowed_filters(filters: Mapping[str, Any], key: ApiKey) -> dict[str, Any]:
    """The filters, narrowed to the sources of the key. Raises `RefusedError` (`forbidden_source`) for others."""
    for source in (*filters.get("sources", ()), *([filters["source"]] if "source" in filters else [])):
        require_source(key, source)
    if key.sources is None:
        return dict(filters)
    return {"sources": sorted(key.sources), **filters}


def with_zone(moment: datetime) -> datetime:
    """The time of a parameter. Raises `RefusedError` (`invalid_message`) when it has no time zone."""
    if moment.tzinfo is None:
        raise RefusedError(ErrorCode.INVALID_MESSAGE, "since: a time has a time zone, such as 2026-01-31T08:00:00Z")
    return moment
