"""Reviews of single checks, and undoing one's own."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from schema.messages import Text
from schema.states import Decision
from worker.errors import ErrorCode, PermanentError
from worker.serve.requests.access_log import note as note_access
from worker.serve.requests.bodies import read_model
from worker.serve.requests.idempotency import IdempotencyKey, request_id
from worker.serve.reviews import examples
from worker.serve.reviews.fields import Body, Moderator, Note, Person
from worker.serve.shared.services import Shared

router = APIRouter(prefix="/v1", tags=["reviews"])


class Review(Body):
    """What a person decided."""

    reviewer: Person
    decision: Decision
    note: Note | None = None


class Undo(Body):
    """Who undoes a review, and why."""

    reviewer: Person
    reason: Annotated[Text, Field(min_length=1, max_length=10_000)]


@router.post("/checks/{check_id}/reviews", status_code=201, summary="Add a review", **examples.review(Review))
async def add(
    request: Request, check_id: UUID, key: Moderator, services: Shared, idempotency_key: IdempotencyKey = None
) -> Response:
    """Store what a person decided about a check that has ended, and end that person's claim on it. Reviews are only
    added: without `Idempotency-Key`, repeating this adds another."""
    note_access(request, check_id=str(check_id))
    review = await read_model(request, Review)
    if key.sources is not None:
        check = await services.call(services.store.show, check_id, with_map=False)
        if not key.may_use(check.source):
            raise PermanentError(ErrorCode.UNKNOWN_CHECK, f"no check has the id {check_id}")
    review_id = await services.call(
        services.store.claims.review,
        check_id,
        reviewer=review.reviewer,
        decision=review.decision,
        note=review.note,
        request_id=request_id(key, "review", idempotency_key),
    )
    return JSONResponse({"review_id": str(review_id)}, 201)


@router.post("/reviews/{review_id}/undo", status_code=204, summary="Undo one's own review", **examples.undo(Undo))
async def undo(request: Request, review_id: UUID, key: Moderator, services: Shared) -> Response:
    """The review no longer counts; an earlier one, or the verdict, counts again. The person must be its reviewer.
    Repeating this is 409 and changes nothing."""
    taken_back = await read_model(request, Undo)
    if key.sources is not None:
        found = await services.call(services.store.claims.sources, review_id)
        if not found or not found <= key.sources:
            raise PermanentError(
                ErrorCode.UNKNOWN_REVIEW, f"{taken_back.reviewer} gave no review with the id {review_id}"
            )
    await services.call(services.store.claims.undo, review_id, reviewer=taken_back.reviewer, reason=taken_back.reason)
    return Response(status_code=204)
