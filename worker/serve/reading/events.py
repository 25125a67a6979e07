"""`/v1/events`: what happened to checks, in an order that can be followed by a cursor."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response

from worker.serve.openapi import CHECK_ID
from worker.serve.reading.documents import EventList
from worker.serve.requests.authorization import Reader
from worker.serve.shared.services import Services, services_of
from worker.store import Event

MAX_EVENTS = 500
"""Events in one answer."""
_MAX_CURSOR = 2**63 - 1

router = APIRouter(prefix="/v1/events", tags=["events"])

_EXAMPLE = {
    "events": [
        {
            "id": "evt_0199a3c28f117c3e9f6b2d1c4e5a6b7c_17",
            "type": "image.check.cancelled",
            "timestamp": "2026-01-31T08:00:01.5+00:00",
            "data": {"check_id": CHECK_ID, "state": "cancelled", "source": "avatars"},
        }
    ],
    "next": 42,
}


@router.get(
    "",
    summary="Follow what happens to checks",
    responses={200: {"model": EventList, "content": {"application/json": {"example": _EXAMPLE}}}},
)
async def events(
    key: Reader,
    services: Annotated[Services, Depends(services_of)],
    after: Annotated[int, Query(ge=0, le=_MAX_CURSOR, description="`next` of the previous response; 0 to begin.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS)] = 100,
) -> Response:
    """Events in a stable order: none appears later before one that was read. Receivers that missed callbacks catch up
    here.

    The response contains what callbacks send, for the sources that the key may use. It is empty when there are no newer
    events yet.
    """
    sources = None if key.sources is None else sorted(key.sources)
    found = await services.call(services.store.events_after, after, limit=limit, sources=sources)
    return JSONResponse(
        {"events": [_document(event) for event in found], "next": found[-1].position if found else after}
    )


def _document(event: Event) -> dict[str, Any]:
    return {
        "id": event.message_id,
        "type": event.type,
        "timestamp": event.created_at.isoformat(),
        "data": dict(event.data),
    }
