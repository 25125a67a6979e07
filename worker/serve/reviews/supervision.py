"""What supervisors of moderators do: read reviews, compare reviewers, review in bulk, undo."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from schema.messages import Moment, Text
from schema.states import CheckState, Decision
from worker.errors import ErrorCode, PermanentError
from worker.serve.problems import RefusedError
from worker.serve.requests.access_log import note as note_access
from worker.serve.requests.authorization import require_source
from worker.serve.requests.bodies import read_model
from worker.serve.requests.idempotency import IdempotencyKey, request_id
from worker.serve.reviews import examples
from worker.serve.reviews.fields import Body, Note, Person, Score, Supervisor, Word, with_zone
from worker.serve.shared.services import Shared
from worker.store import ApiKey
from worker.store.reviews import MAX_BATCH, ReviewFilter, StoredReview

MAX_REVIEWS = 500
"""Reviews in one answer."""

router = APIRouter(prefix="/v1", tags=["supervision"])


class BulkFilters(Body):
    """Which checks that have ended to review; all that is set must hold. Times are those of acceptance."""

    source: Word | None = None
    decision: Annotated[Decision | None, Field(description="Of the verdict.")] = None
    policy: Word | None = None
    generator: Word | None = None
    min_score: Score | None = None
    max_score: Score | None = None
    since: Moment | None = None
    until: Moment | None = None
    state: CheckState | None = None
    reviewed_too: Annotated[bool, Field(description="Also override what people decided.")] = False


class BulkReview(Body):
    """One decision about many checks."""

    reviewer: Person
    decision: Decision
    note: Note | None = None
    filters: BulkFilters
    limit: Annotated[
        int | None,
        Field(ge=1, le=MAX_BATCH, description="At most so many; without it, more than 10000 are refused."),
    ] = None
    dry_run: Annotated[bool, Field(description="Only count what matches.")] = False


class Undo(Body):
    """What is undone, by whom and why."""

    target: Annotated[UUID, Field(description="A review or a bulk review.")]
    by: Person
    reason: Annotated[Text, Field(min_length=1, max_length=10_000)]


@router.post("/reviews/bulk", status_code=201, summary="Review all checks that match", **examples.bulk(BulkReview))
async def bulk(request: Request, key: Supervisor, services: Shared, idempotency_key: IdempotencyKey = None) -> Response:
    """Review every check that has ended and matches, in one transaction. The bulk review has one id and is undone as a
    whole. Checks that people have reviewed are skipped unless `reviewed_too` is true. With `dry_run` the response is
    200 and counts what matches."""
    asked = await read_model(request, BulkReview)
    where = ReviewFilter(**dict(asked.filters), sources=None if key.sources is None else tuple(sorted(key.sources)))
    if where.source is not None:
        require_source(key, where.source)
    if asked.dry_run:
        counts = await services.call(services.store.reviews.count, where)
        return JSONResponse(
            {"checks": sum(each.checks for each in counts), "matching": [asdict(each) for each in counts]}
        )
    batch_id, count = await services.call(
        services.store.reviews.add_batch,
        where,
        reviewer=asked.reviewer,
        decision=asked.decision,
        note=asked.note,
        limit=asked.limit,
        batch_id=request_id(key, "bulk", idempotency_key),
    )
    note_access(request, items=count)
    return JSONResponse({"batch_id": str(batch_id), "reviews": count}, 201)


@router.post("/reviews/undos", status_code=201, summary="Undo a review or a bulk review", **examples.undos(Undo))
async def undo(request: Request, key: Supervisor, services: Shared) -> Response:
    """Anybody's review: it no longer counts, and earlier reviews, or the verdicts, count again.
    Repeating this is 409 and changes nothing."""
    asked = await read_model(request, Undo)
    if key.sources is not None and not (
        (found := await services.call(services.store.claims.sources, asked.target)) and found <= key.sources
    ):
        raise PermanentError(ErrorCode.UNKNOWN_REVIEW, f"no review and no bulk review has the id {asked.target}")
    undone = await services.call(services.store.reviews.undo, asked.target, by=asked.by, reason=asked.reason)
    return JSONResponse({"undo_id": str(undone.undo_id), "reviews": undone.reviews}, 201)


@router.get("/checks/{check_id}/reviews", summary="The reviews of a check", responses=examples.REVIEWS)
async def list_reviews(
    request: Request,
    check_id: UUID,
    key: Supervisor,
    services: Shared,
    after: Annotated[UUID | None, Query(description="`next` of the previous response.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_REVIEWS)] = 100,
) -> Response:
    """In the order in which they were added; of those that were not undone, the last one counts. `next` is null at the
    end."""
    note_access(request, check_id=str(check_id))
    check = await services.call(services.store.show, check_id, with_map=False)
    if not key.may_use(check.source):
        raise PermanentError(ErrorCode.UNKNOWN_CHECK, f"no check has the id {check_id}")
    found = await services.call(services.store.reviews.of_check, check_id, after=after, limit=limit + 1)
    shown = found[:limit]
    following = str(shown[-1].id) if len(found) > limit else None
    return JSONResponse({"reviews": [_review_document(each) for each in shown], "next": following})


@router.get("/reviews/agreement", summary="How far moderators agree", responses=examples.AGREEMENT)
async def agreement(
    key: Supervisor,
    services: Shared,
    source: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    since: Annotated[datetime | None, Query(description="Of the second review.")] = None,
) -> Response:
    """Over checks that two people reviewed, the second without seeing the first decision. The first row is for all
    reviewers, without names; the others are for each two of them. A coefficient is null where it is undefined."""
    _require_one_source(key, source)
    since = None if since is None else with_zone(since)
    found = await services.call(services.store.reviews.agreement, since=since, source=source)
    return JSONResponse({"agreement": [asdict(each) for each in found]})


@router.get("/reviews/accuracy", summary="How often moderators are right", responses=examples.ACCURACY)
async def accuracy(key: Supervisor, services: Shared) -> Response:
    """Over checks whose answer is known, with the 95 % interval of each share. Needs a key for all sources."""
    if key.sources is not None:
        raise RefusedError(
            ErrorCode.FORBIDDEN_SOURCE, f"the API key {key.name!r} may not use all sources; use another key"
        )
    found = await services.call(services.store.reviews.accuracy)
    return JSONResponse({"accuracy": [asdict(each) for each in found]})


def _require_one_source(key: ApiKey, source: str | None) -> None:
    if source is not None:
        require_source(key, source)
    elif key.sources is not None:
        raise RefusedError(
            ErrorCode.FORBIDDEN_SOURCE, f"the API key {key.name!r} may not use all sources; name one with ?source="
        )


def _review_document(review: StoredReview) -> dict[str, Any]:
    return {
        "review_id": str(review.id),
        "reviewer": review.reviewer,
        "decision": review.decision,
        "note": review.note,
        "created_at": review.created_at.isoformat(),
        "batch_id": None if review.batch_id is None else str(review.batch_id),
        "undone_at": None if review.undone_at is None else review.undone_at.isoformat(),
    }
