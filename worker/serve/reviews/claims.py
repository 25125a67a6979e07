"""`/v1/reviews/claims`: what a moderators' tool does. A person is given one check at a time, and nobody else gets it.

No response reveals what anybody else decided about a check, or whether its answer is known.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field, JsonValue

from schema.messages import Text
from schema.states import Decision
from worker.errors import ErrorCode, PermanentError
from worker.serve.reading import maps
from worker.serve.requests.access_log import note as note_access
from worker.serve.requests.bodies import read_model
from worker.serve.requests.idempotency import IdempotencyKey, request_id
from worker.serve.reviews import examples
from worker.serve.reviews.fields import MAX_SOURCES, Body, Moderator, Note, Person, QueueFilters, Word, allowed_filters
from worker.serve.shared.services import Services, Shared
from worker.store import ApiKey, CheckDetails
from worker.store.claims import ReviewClaim

DEFAULT_SECONDS = 600
MAX_SECONDS = 86_400

router = APIRouter(prefix="/v1/reviews/claims", tags=["reviews"])

Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS, description="How long the claim lasts from now.")]
Holder = Annotated[str, Query(min_length=1, max_length=200, description="Who holds the claim.")]


class ClaimFilters(QueueFilters):
    """Which checks to give; all that is set must hold."""

    source: Word | None = None
    sources: Annotated[list[Word], Field(min_length=1, max_length=MAX_SOURCES)] | None = None
    attributes: dict[str, JsonValue] | None = None


class ClaimRequest(Body):
    """Who asks for a check."""

    moderator: Person
    filters: ClaimFilters = ClaimFilters()
    seconds: Seconds = DEFAULT_SECONDS


class ClaimDecision(Body):
    """What the holder of a claim decided."""

    moderator: Person
    decision: Decision
    note: Note | None = None


class Extension(Body):
    """For how long the holder keeps a claim."""

    moderator: Person
    seconds: Seconds = DEFAULT_SECONDS


class Skip(Body):
    """Why the holder of a claim skips its check."""

    moderator: Person
    reason: Annotated[Text, Field(min_length=1, max_length=10_000)]


class Release(Body):
    """Who releases a claim."""

    moderator: Person


@router.post("", status_code=201, summary="Claim the next check", **examples.claim(ClaimRequest))
async def claim(request: Request, key: Moderator, services: Shared, idempotency_key: IdempotencyKey = None) -> Response:
    """Give a moderator the next check that waits and matches: by score, reach and age. Nobody else is given it, nor
    the same image, until the claim ends. 204 when nothing waits."""
    asked = await read_model(request, ClaimRequest)
    found = await services.call(
        services.store.claims.claim,
        asked.moderator,
        allowed_filters(asked.filters.model_dump(mode="json", exclude_none=True), key),
        seconds=asked.seconds,
        request_id=request_id(key, "claim", idempotency_key),
    )
    if found is None:
        return Response(status_code=204)
    note_access(request, check_id=str(found.check_id))
    return JSONResponse(claim_document(found), 201)


@router.get("", summary="The claims that a moderator holds", responses=examples.HELD)
async def held(key: Moderator, services: Shared, moderator: Holder) -> Response:
    """At most 50, ordered by their end, as they were given: for a page that was closed and is opened again."""
    found = await services.call(services.store.claims.held, moderator)
    return JSONResponse({"claims": [claim_document(each) for each in found if key.may_use(each.source)]})


@router.post("/{claim_id}/decide", status_code=201, summary="Decide a claim", **examples.decide(ClaimDecision))
async def decide(request: Request, claim_id: UUID, key: Moderator, services: Shared) -> Response:
    """Review the check and end the claim. Repeating the same decision returns the same review. An expired claim can be
    decided until somebody else is given the check."""
    decided = await read_model(request, ClaimDecision)
    await _require_source(services, key, claim_id, decided.moderator)
    review_id = await services.call(
        services.store.claims.decide, claim_id, decided.moderator, decided.decision, decided.note
    )
    return JSONResponse({"review_id": str(review_id)}, 201)


@router.post("/{claim_id}/extend", summary="Keep a claim for longer", **examples.extend(Extension))
async def extend(request: Request, claim_id: UUID, key: Moderator, services: Shared) -> Response:
    """The claim ends `seconds` from now."""
    extension = await read_model(request, Extension)
    await _require_source(services, key, claim_id, extension.moderator)
    ends = await services.call(services.store.claims.extend, claim_id, extension.moderator, seconds=extension.seconds)
    return JSONResponse({"claimed_until": ends.isoformat()})


@router.post("/{claim_id}/skip", status_code=204, summary="Skip a check", **examples.give_back(Skip))
async def skip(request: Request, claim_id: UUID, key: Moderator, services: Shared) -> Response:
    """Return the check to the queue, with a reason. Whoever skipped a check is not given it again. Safe to repeat."""
    skipped = await read_model(request, Skip)
    await _require_source(services, key, claim_id, skipped.moderator)
    await services.call(services.store.claims.skip, claim_id, skipped.moderator, reason=skipped.reason)
    return Response(status_code=204)


@router.post("/{claim_id}/release", status_code=204, summary="Release a claim", **examples.give_back(Release))
async def release(request: Request, claim_id: UUID, key: Moderator, services: Shared) -> Response:
    """Return the check to the queue; it may be given to the same person again. Safe to repeat."""
    released = await read_model(request, Release)
    await _require_source(services, key, claim_id, released.moderator)
    await services.call(services.store.claims.release, claim_id, released.moderator)
    return Response(status_code=204)


@router.get(
    "/{claim_id}/map.png", response_class=Response, responses=examples.CLAIM_MAP, summary="The map of a claimed check"
)
async def map_png(request: Request, claim_id: UUID, key: Moderator, services: Shared, moderator: Holder) -> Response:
    """As `/v1/checks/{check_id}/map.png`, while the claim is held."""
    return maps.picture(await _claimed(request, services, key, claim_id, moderator))


@router.get("/{claim_id}/map.json", responses=examples.CLAIM_GRID, summary="The map of a claimed check as numbers")
async def map_json(request: Request, claim_id: UUID, key: Moderator, services: Shared, moderator: Holder) -> Response:
    """As `/v1/checks/{check_id}/map.json`, while the claim is held."""
    return maps.grid(await _claimed(request, services, key, claim_id, moderator))


@router.get(
    "/{claim_id}/overlay.png",
    response_class=Response,
    responses=examples.CLAIM_OVERLAY,
    summary="The image of a claimed check under its map",
)
async def overlay_png(
    request: Request, claim_id: UUID, key: Moderator, services: Shared, moderator: Holder
) -> Response:
    """As `/v1/checks/{check_id}/overlay.png`, while the claim is held."""
    return await maps.overlay(await _claimed(request, services, key, claim_id, moderator), services)


def claim_document(claim: ReviewClaim) -> dict[str, Any]:
    """The JSON object of a claim, with links to its maps."""
    path = f"/v1/reviews/claims/{claim.claim_id}"
    return {
        **vars(claim),
        "claim_id": str(claim.claim_id),
        "claimed_until": claim.claimed_until.isoformat(),
        "check_id": str(claim.check_id),
        "links": {"map": f"{path}/map.png", "grid": f"{path}/map.json", "overlay": f"{path}/overlay.png"},
    }


async def _require_source(services: Services, key: ApiKey, claim_id: UUID, moderator: str) -> None:
    """A claim on a check of a source that the key may not use does not exist for it."""
    if key.sources is not None and not (await services.call(services.store.claims.sources, claim_id)) & key.sources:
        raise PermanentError(ErrorCode.CLAIM_ENDED, f"{moderator} holds no claim {claim_id}")


async def _claimed(request: Request, services: Services, key: ApiKey, claim_id: UUID, moderator: str) -> CheckDetails:
    await _require_source(services, key, claim_id, moderator)
    check_id = await services.call(services.store.claims.require, claim_id, moderator)
    note_access(request, check_id=str(check_id))
    return await services.call(services.store.show, check_id)
