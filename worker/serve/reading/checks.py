"""`GET /v1/checks`: find a check, read it, wait until it has ended."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from schema.states import CheckState
from worker.errors import ErrorCode, PermanentError
from worker.policy.explain import explain
from worker.queue.policies import policy_of
from worker.serve.problems import (
    RefusedError,
)
from worker.serve.reading import examples
from worker.serve.requests.access_log import note
from worker.serve.requests.authorization import Reader
from worker.serve.shared.services import Services, Shared
from worker.store import ApiKey, CheckDetails
from worker.store.documents import check_document

MAX_WAIT = 30.0
"""Seconds that a request may wait for a check to finish."""

router = APIRouter(prefix="/v1/checks", tags=["checks"])


@router.get("", summary="Find a check by its external id", responses=examples.CHECK)
async def find(
    request: Request,
    key: Reader,
    services: Shared,
    source: Annotated[str, Query(min_length=1, max_length=200)],
    external_id: Annotated[str, Query(min_length=1, max_length=500)],
) -> Response:
    """The check that was accepted under `(source, external_id)`."""
    if "\x00" in source + external_id:
        raise RefusedError(ErrorCode.INVALID_MESSAGE, "a parameter contains a NUL character, which no check has")
    found = await services.call(services.store.find, source, external_id) if key.may_use(source) else None
    if found is None:
        raise _unknown(f"{source}/{external_id}")
    return JSONResponse(document_of(await visible_check(request, found, key, services)))


@router.get("/{check_id}", summary="Read a check", responses=examples.CHECK)
async def show(
    request: Request,
    check_id: UUID,
    key: Reader,
    services: Shared,
    wait: Annotated[
        float,
        Query(ge=0, le=MAX_WAIT, description="Seconds to wait for the check to finish before it is shown as it is."),
    ] = 0.0,
    explained: Annotated[
        bool,
        Query(alias="explain", description="Add `explain`: each rule of the policy, its number, and which decided."),
    ] = False,
) -> Response:
    """State, decision, score, regions and model of a check; the verdict's members are there once it is `done`."""
    found = await visible_check(request, check_id, key, services)
    if wait and not found.state.is_final:
        with services.in_flight.waiting():
            await services.waiters.wait(check_id, wait)
        found = await services.call(services.store.show, check_id, with_map=False)
    document = document_of(found)
    if explained and found.scan is not None and found.verdict is not None:
        policy = await services.call(policy_of, services.store.policies, found.verdict.policy)
        document["explain"] = explain(found.scan, policy, found.verdict.regions)
    return JSONResponse(document)


async def visible_check(request: Request, check_id: UUID, key: ApiKey, services: Services) -> CheckDetails:
    """The check without its map. One of a source that the key may not use does not exist for it."""
    note(request, check_id=str(check_id))
    found = await services.call(services.store.show, check_id, with_map=False)
    if not key.may_use(found.source):
        raise _unknown(check_id)
    return found


def _unknown(what: object) -> PermanentError:
    return PermanentError(ErrorCode.UNKNOWN_CHECK, f"no check has the id {what}")


def document_of(check: CheckDetails) -> dict[str, Any]:
    """The check with links to its images once it is done."""
    document = check_document(check)
    if check.state is CheckState.DONE:
        path = f"/v1/checks/{check.check_id}"
        document["links"] = {
            "map": f"{path}/map.png",
            "grid": f"{path}/map.json",
            "overlay": f"{path}/overlay.png",
        }
    return document
