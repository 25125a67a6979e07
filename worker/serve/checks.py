"""`/v1/checks`: submit, read, wait, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from schema.messages import Submission
from schema.states import CheckState, Lane
from worker.errors import ErrorCode, PermanentError, SusyError
from worker.policy.explain import explain
from worker.queue.policies import policy_of
from worker.serve import examples
from worker.serve.access import note
from worker.serve.authorization import Reader, Submitter, require_source
from worker.serve.bodies import read_json
from worker.serve.idempotency import SubmissionKey
from worker.serve.problems import (
    RefusedError,
    headers_of,
    problem_document,
    problem_response,
    status_of,
)
from worker.serve.services import Services, Shared
from worker.sources.sources import require_possible
from worker.store import ApiKey, CheckDetails, CheckFilter, Receipt
from worker.store.documents import check_document
from worker.validation import describe_invalid

MAX_ITEMS = 100
"""Checks in one request."""
MAX_WAIT = 30.0
"""Seconds that a request may wait for a check to finish."""

router = APIRouter(prefix="/v1/checks", tags=["checks"])


@router.post("", status_code=202, summary="Submit one check, or up to 100", **examples.SUBMIT)
async def submit(request: Request, key: Submitter, services: Shared, idempotency_key: SubmissionKey = None) -> Response:
    """Once this answers 202 or 200, the checks are in Postgres and cannot be lost.

    The body is an object, or a list of 1 to 100 objects. Each item of a list is accepted or refused by itself. The
    answer to a list is 202 when at least one check is new, 200 when all that were accepted are repeats, and the status
    of the items (422 when they differ) when all were refused.
    """
    body = await read_json(request)
    if not isinstance(body, list):
        [outcome] = await _submit_all(services, key, [_with_key(body, idempotency_key, None)])
        note(request, **_facts([outcome]))
        if isinstance(outcome, SusyError):
            return problem_response(outcome)
        headers = {"Location": f"/v1/checks/{outcome.check_id}"}
        return JSONResponse(_receipt(outcome), 202 if outcome.created else 200, headers)
    if not 1 <= len(body) <= MAX_ITEMS:
        raise RefusedError(
            ErrorCode.TOO_MANY_ITEMS, f"a list has 1 to {MAX_ITEMS} checks, this one has {len(body)}; split it"
        )
    items = [_with_key(item, idempotency_key, position) for position, item in enumerate(body)]
    outcomes = await _submit_all(services, key, items)
    note(request, **_facts(outcomes))
    return _list_response(outcomes)


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
    return JSONResponse(_document(await _visible(request, found, key, services)))


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
    found = await _visible(request, check_id, key, services)
    if wait and not found.state.is_final:
        with services.in_flight.waiting():
            await services.waiters.wait(check_id, wait)
        found = await services.call(services.store.show, check_id, with_map=False)
    document = _document(found)
    if explained and found.scan is not None and found.verdict is not None:
        policy = await services.call(policy_of, services.store.policies, found.verdict.policy)
        document["explain"] = explain(found.scan, policy, found.verdict.regions)
    return JSONResponse(document)


@router.post("/{check_id}/cancel", summary="Cancel a check that waits", responses=examples.CANCEL)
async def cancel(request: Request, check_id: UUID, key: Submitter, services: Shared) -> Response:
    """A queued check is never examined after this. Repeating it is safe; a check that runs or has ended is not
    cancelled (409)."""
    await _visible(request, check_id, key, services)
    await services.call(services.store.cancel, CheckFilter(check_ids=[check_id]), actor=f"key {key.name}")
    found = await services.call(services.store.show, check_id, with_map=False)
    if found.state is not CheckState.CANCELLED:
        raise RefusedError(
            ErrorCode.NOT_CANCELLABLE, f"check {check_id} is {found.state}; only a queued one is cancelled"
        )
    return JSONResponse(_document(found))


async def _visible(request: Request, check_id: UUID, key: ApiKey, services: Services) -> CheckDetails:
    """The check without its map. One of a source that the key may not use does not exist for it."""
    note(request, check_id=str(check_id))
    found = await services.call(services.store.show, check_id, with_map=False)
    if not key.may_use(found.source):
        raise _unknown(check_id)
    return found


def _unknown(what: object) -> PermanentError:
    return PermanentError(ErrorCode.UNKNOWN_CHECK, f"no check has the id {what}")


def _document(check: CheckDetails) -> dict[str, Any]:
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


# --- Submitting


def _with_key(item: Any, idempotency_key: str | None, position: int | None) -> Any:
    """An item whose external id is made from the request's idempotency key, unless it has one."""
    if idempotency_key is None or not isinstance(item, dict) or item.get("external_id") is not None:
        return item
    return item | {"external_id": f"request:{idempotency_key}" + ("" if position is None else f"/{position}")}


async def _submit_all(services: Services, key: ApiKey, items: Sequence[Any]) -> list[Receipt | SusyError]:
    """The outcome of each item, in order. All that are accepted are written by one statement."""
    outcomes: list[Receipt | SusyError | None] = [None] * len(items)
    submissions: dict[int, Submission] = {}
    rooms: dict[tuple[str, Lane], SusyError | None] = {}
    for position, item in enumerate(items):
        try:
            submission = Submission.model_validate(item)
            require_source(key, submission.source)
            require_possible(submission.uri, services.settings)
            place = submission.source, submission.lane
            if place not in rooms:
                rooms[place] = await _refusal_of(services, *place)
            if refused := rooms[place]:
                outcomes[position] = refused
            else:
                submissions[position] = submission
        except ValidationError as error:
            outcomes[position] = RefusedError(ErrorCode.INVALID_MESSAGE, describe_invalid(error))
        except PermanentError as error:
            outcomes[position] = error
    written = await services.submitter.submit(list(submissions.values()))
    for position, outcome in zip(submissions, written, strict=True):
        outcomes[position] = outcome
    return [outcome for outcome in outcomes if outcome is not None]


async def _refusal_of(services: Services, source: str, lane: Lane) -> SusyError | None:
    try:
        await services.backlog.require_room(source, lane)
    except RefusedError as error:
        return error
    return None


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {"check_id": str(receipt.check_id), "created": receipt.created}


def _list_response(outcomes: Sequence[Receipt | SusyError]) -> Response:
    items = [
        {"status": status_of(outcome), "error": problem_document(outcome)}
        if isinstance(outcome, SusyError)
        else {"status": 202 if outcome.created else 200, **_receipt(outcome)}
        for outcome in outcomes
    ]
    refused = [outcome for outcome in outcomes if isinstance(outcome, SusyError)]
    created = sum(isinstance(outcome, Receipt) and outcome.created for outcome in outcomes)
    counts = {
        "accepted": created,
        "repeated": len(outcomes) - created - len(refused),
        "refused": len(refused),
        "items": items,
    }
    if len(refused) < len(outcomes):
        return JSONResponse(counts, 202 if created else 200)
    if len({status_of(error) for error in refused}) == 1:
        return problem_response(max(refused, key=_retry_after), **counts)
    return problem_response(
        RefusedError(ErrorCode.INVALID_MESSAGE, "every item was refused; each one's error says why"), **counts
    )


def _retry_after(error: SusyError) -> float:
    return float(headers_of(error).get("Retry-After", 0))


def _facts(outcomes: Sequence[Receipt | SusyError]) -> dict[str, Any]:
    """What the access log says of a submission."""
    ids = [str(outcome.check_id) for outcome in outcomes if isinstance(outcome, Receipt)]
    codes = sorted({str(outcome.code) for outcome in outcomes if isinstance(outcome, SusyError)})
    facts: dict[str, Any] = {"check_id": ids[0]} if len(outcomes) == 1 and ids else {}
    if len(outcomes) > 1:
        facts = {"items": len(outcomes), "refused": len(outcomes) - len(ids), "check_ids": ids}
    return facts | ({"codes": codes} if codes else {})
