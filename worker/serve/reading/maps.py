"""`/v1/checks/{id}/map.png`, `map.json` and `overlay.png`: where in the image the score comes from."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from worker.errors import ErrorCode, PermanentError
from worker.extras import require_extra
from worker.localization.heatmap import grid_document, heatmap
from worker.serve.openapi import CHECK_ID, problems
from worker.serve.problems import RefusedError
from worker.serve.reading.documents import GridDocument
from worker.serve.requests.access_log import note
from worker.serve.requests.authorization import Reader
from worker.serve.shared.services import Services, services_of
from worker.store import ApiKey, CheckDetails

router = APIRouter(prefix="/v1/checks", tags=["checks"])

Shared = Annotated[Services, Depends(services_of)]

_CACHED = {"Cache-Control": "private, max-age=86400, immutable"}
"""A check that is done no longer changes. `private`: only who has the key may see it."""
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A PNG file."}}
ABSENT = (
    (ErrorCode.NO_MAP, f"check {CHECK_ID} has no map"),
    (ErrorCode.NOT_FINISHED, f"check {CHECK_ID} is queued; it has no map yet"),
)
_ABSENT = ((ErrorCode.UNKNOWN_CHECK, f"no check has the id {CHECK_ID}"), *ABSENT)
DRAWING = (
    (ErrorCode.CONFLICT, "/images/4711.jpg is no longer the image that was checked; no map was drawn"),
    (ErrorCode.MISSING_EXTRA, "drawing on images needs PIL; run: pip install 'susy-worker[worker]'"),
)
_ALL = {**PNG, **problems(*_ABSENT, *DRAWING)}
GRID_EXAMPLE = {
    "width": 448,
    "height": 300,
    "x_edges": [0, 224, 448],
    "y_edges": [0, 76, 224, 300],
    "scores": [[0.02, 0.91], [0.03, 0.95], [0.04, None]],
    "sampled": False,
}
_GRID: dict[int | str, dict[str, Any]] = {
    200: {"model": GridDocument, "content": {"application/json": {"example": GRID_EXAMPLE}}},
    **problems(*_ABSENT),
}


@router.get("/{check_id}/map.png", response_class=Response, responses=_ALL, summary="The map of a check")
async def map_png(request: Request, check_id: UUID, key: Reader, services: Shared) -> Response:
    """Gray = 255 × the probability that the place is synthetic, transparent where nothing was scored; at most 512 px
    per side, in the image's proportions."""
    return picture(await _shown(request, check_id, key, services))


@router.get("/{check_id}/map.json", responses=_GRID, summary="The map of a check as numbers")
async def map_json(request: Request, check_id: UUID, key: Reader, services: Shared) -> Response:
    """The cells of the map: the borders between them in pixels of the upright image, and for each row of cells the
    probabilities that they are synthetic, null where nothing was scored. Tiles that overlap are averaged per cell."""
    return grid(await _shown(request, check_id, key, services))


@router.get("/{check_id}/overlay.png", response_class=Response, responses=_ALL, summary="The image under its map")
async def overlay_png(request: Request, check_id: UUID, key: Reader, services: Shared) -> Response:
    """The image, at most 1600 px per side, with the map and the regions drawn on it. The image is read again from its
    source, and refused when it is no longer the one that was checked."""
    return await overlay(await _shown(request, check_id, key, services), services)


def picture(check: CheckDetails) -> Response:
    """The map of a check as a PNG file. Raises `RefusedError` (`not_finished`, `no_map`)."""
    _require_map(check)
    assert check.map_png is not None
    return _png(check.map_png)


def grid(check: CheckDetails) -> Response:
    """The map of a check as numbers. Raises as `picture` does."""
    _require_map(check)
    assert check.scan is not None  # there is a map
    return JSONResponse(grid_document(heatmap(check.scan)), headers=_CACHED)


async def overlay(check: CheckDetails, services: Services) -> Response:
    """The image of a check with its map drawn on it. Raises `missing_extra`, `not_finished`, and as `draw_overlay`."""
    require_extra("worker", what="drawing on images")  # answered as 501
    from worker.pipeline.overlay import draw_overlay

    _require_verdict(check)
    return _png(await services.draw(draw_overlay, check, services.settings, services.memory))


async def _shown(request: Request, check_id: UUID, key: ApiKey, services: Services) -> CheckDetails:
    note(request, check_id=str(check_id))
    found = await services.call(services.store.show, check_id)
    if not key.may_use(found.source):
        raise PermanentError(ErrorCode.UNKNOWN_CHECK, f"no check has the id {check_id}")
    return found


def _require_map(check: CheckDetails) -> None:
    _require_verdict(check)
    if check.map_png is None:
        raise RefusedError(
            ErrorCode.NO_MAP, f"check {check.check_id} has no map: the image is too small, or its policy asked for none"
        )


def _require_verdict(check: CheckDetails) -> None:
    if check.verdict is None:
        raise RefusedError(ErrorCode.NOT_FINISHED, f"check {check.check_id} is {check.state}; it has no map")


def _png(content: bytes) -> Response:
    return Response(content, media_type="image/png", headers=_CACHED)
