"""`/v1/reviews/queue`: which checks wait for a review, in the order in which claims give them, and how many.

No response contains a decision of a person. Contents that are drawn for second reviews are never listed: a check that
is missing from the list may wait for its first review as well as for its second one.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime, Field, FiniteFloat, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from schema.messages import Text
from worker.errors import ErrorCode
from worker.serve.problems import RefusedError
from worker.serve.reviews import examples
from worker.serve.reviews.fields import MAX_SOURCES, Body, Moderator, QueueFilters, Word, allowed_filters
from worker.serve.shared.services import Shared
from worker.store.review_queue import MAX_PAGE, QueuedReview, QueuePlace, WaitingCount

MAX_CURSOR = 300
MAX_ATTRIBUTES = 4000

router = APIRouter(prefix="/v1/reviews/queue", tags=["reviews"])

Sources = Annotated[
    list[Word] | None, Field(min_length=1, max_length=MAX_SOURCES, description="Any of these: repeat the parameter.")
]
_PLACE: TypeAdapter[tuple[int, float, AwareDatetime, UUID]] = TypeAdapter(
    tuple[Annotated[int, Field(ge=0, le=10)], FiniteFloat, AwareDatetime, UUID]
)


class QueueQuery(QueueFilters):
    """The parameters of a page."""

    source: Sources = None
    attributes: Annotated[
        Text | None,
        Field(max_length=MAX_ATTRIBUTES, description="A JSON object that the submission's attributes contain."),
    ] = None
    after: Annotated[str | None, Field(max_length=MAX_CURSOR, description="`next` of the previous response.")] = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class CountQuery(Body):
    """The parameters of the counts."""

    source: Sources = None


@router.get("", summary="The checks that wait for a review", responses=examples.QUEUE)
async def queue(key: Moderator, services: Shared, query: Annotated[QueueQuery, Query()]) -> Response:
    """In the order in which claims give them: by score, reach and age. A page can have fewer checks than `limit`, or
    none, where few match the filter; the list ends where `next` is null. A key for some sources lists only their
    checks."""
    given = query.model_dump(mode="json", exclude_none=True, exclude={"source", "attributes", "after", "limit"})
    if query.source is not None:
        given["sources"] = query.source
    if query.attributes is not None:
        given["attributes"] = _attributes(query.attributes)
    after = None if query.after is None else _place(query.after)
    page = await services.call(
        services.store.review_queue.page, allowed_filters(given, key), after=after, limit=query.limit
    )
    following = None if page.next is None else _cursor(page.next)
    return JSONResponse({"checks": [_check_document(each) for each in page.checks], "next": following})


@router.get("/counts", summary="How many checks wait for a review", responses=examples.QUEUE_COUNTS)
async def counts(key: Moderator, services: Shared, query: Annotated[CountQuery, Query()]) -> Response:
    """By the reason why they wait, with the time since which the oldest waits. Counted to 10000; `capped` says that
    there are more."""
    given = {} if query.source is None else {"sources": query.source}
    found = await services.call(services.store.review_queue.count, allowed_filters(given, key).get("sources"))
    return JSONResponse({"waiting": [_count_document(each) for each in found]})


def _attributes(text: str) -> dict[str, Any]:
    try:
        found = from_json(text, allow_inf_nan=False)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError(ErrorCode.INVALID_MESSAGE, "attributes: must be a JSON object")
    return found


def _cursor(place: QueuePlace) -> str:
    """A place in the queue as an opaque string."""
    return base64.urlsafe_b64encode(to_json(place)).decode().rstrip("=")


def _place(cursor: str) -> QueuePlace:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return QueuePlace(*_PLACE.validate_json(text))
    except (binascii.Error, ValueError, ValidationError):
        raise RefusedError(
            ErrorCode.INVALID_MESSAGE, "after: is not the `next` of an answer; begin without it"
        ) from None


def _check_document(check: QueuedReview) -> dict[str, Any]:
    return {
        **vars(check),
        "check_id": str(check.check_id),
        "waiting_since": check.waiting_since.isoformat(),
        "claimed_until": None if check.claimed_until is None else check.claimed_until.isoformat(),
    }


def _count_document(count: WaitingCount) -> dict[str, Any]:
    return {
        "why": count.why,
        "checks": count.checks,
        "capped": count.is_capped,
        "oldest": None if count.oldest is None else count.oldest.isoformat(),
    }
