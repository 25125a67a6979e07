"""`POST /v1/checks`: submit one check or many; cancel one that waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from schema.messages import Submission
from schema.states import CheckState, Lane
from worker.errors import ErrorCode, PermanentError, SusyError
from worker.serve.problems import (
    RefusedError,
    headers_of,
    problem_document,
    problem_response,
    status_of,
)
from worker.serve.reading.checks import document_of, visible_check
from worker.serve.reading.examples import CANCEL
from worker.serve.requests.access_log import note
from worker.serve.requests.authorization import Submitter, require_source
from worker.serve.requests.bodies import read_json
from worker.serve.requests.idempotency import SubmissionKey
from worker.serve.shared.services import Services, Shared
from worker.serve.submitting import examples
from worker.sources.sources import require_possible
from worker.store import ApiKey, CheckFilter, Receipt
from worker.validation import describe_invalid

MAX_ITEMS = 100
"""Checks in one request."""

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


@router.post("/{check_id}/cancel", summary="Cancel a check that waits", responses=CANCEL)
async def cancel(request: Request, check_id: UUID, key: Submitter, services: Shared) -> Response:
    """A queued check is never examined after this. Repeating it is safe; a check that runs or has ended is not
    cancelled (409)."""
    await visible_check(request, check_id, key, services)
    await services.call(services.store.cancel, CheckFilter(check_ids=[check_id]), actor=f"key {key.name}")
    found = await services.call(services.store.show, check_id, with_map=False)
    if found.state is not CheckState.CANCELLED:
        raise RefusedError(
            ErrorCode.NOT_CANCELLABLE, f"check {check_id} is {found.state}; only a queued one is cancelled"
        )
    return JSONResponse(document_of(found))


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
