"""`/v1/checks/{check_id}/reviews`: what people decided about a check."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schema.access import Scope
from schema.messages import Text
from schema.states import Decision
from worker.errors import ErrorCode, PermanentError
from worker.serve import examples
from worker.serve.access import note as note_access
from worker.serve.authorization import authorized
from worker.serve.bodies import read_json
from worker.serve.checks import Shared
from worker.serve.problems import RefusedError
from worker.store import ApiKey
from worker.validation import describe_invalid

router = APIRouter(prefix="/v1/checks", tags=["reviews"])


class Review(BaseModel):
    """What a person decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reviewer: Annotated[Text, Field(min_length=1, max_length=200)]
    decision: Decision
    note: Annotated[Text, Field(max_length=10_000)] | None = None


@router.post("/{check_id}/reviews", status_code=201, summary="Add a review", **examples.review(Review))
async def add(
    request: Request, check_id: UUID, key: Annotated[ApiKey, Depends(authorized(Scope.REVIEW))], services: Shared
) -> Response:
    """Store what a person decided about a check that has ended. Reviews are only added: repeating this adds another."""
    note_access(request, check_id=str(check_id))
    body: Any = await read_json(request)
    try:
        review = Review.model_validate(body)
    except ValidationError as error:
        raise RefusedError(ErrorCode.INVALID_MESSAGE, describe_invalid(error)) from None
    check = await services.call(services.store.show, check_id, with_map=False)
    if not key.may_use(check.source):
        raise PermanentError(ErrorCode.UNKNOWN_CHECK, f"no check has the id {check_id}")
    review_id = await services.call(
        services.store.add_review, check_id, reviewer=review.reviewer, decision=review.decision, note=review.note
    )
    return JSONResponse({"review_id": str(review_id)}, 201)
