"""`/v1/gate`: may this image be published? An answer within the caller's deadline, for platforms that ask before.

The check is an ordinary one: it continues when the deadline passes, and its verdict is called back. Rules
(`rules`) say what the gate answers for each decision, and for none in time.
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from schema.access import Scope
from schema.gate import GateAnswer, GateReason
from schema.messages import Receipt, Submission
from schema.states import Decision
from worker.errors import ErrorCode, SusyError, TransientError
from worker.log import get_logger
from worker.serve.gate import examples
from worker.serve.gate.rules import MAX_DEADLINE, GateRule, GateRules
from worker.serve.problems import RefusedError, problem_response, status_of
from worker.serve.requests.access_log import note
from worker.serve.requests.authorization import Submitter, admitted, require_source
from worker.serve.requests.bodies import read_json
from worker.serve.requests.idempotency import SubmissionKey
from worker.serve.shared.services import Services, Shared
from worker.serve.submitting.uploads import received_image, submit_upload
from worker.store import ApiKey
from worker.validation import describe_invalid

log = get_logger(__name__)

PATH, PICT_RS_PATH = "/v1/gate", "/v1/gate/pict-rs"

router = APIRouter(prefix=PATH, tags=["gate"])

Within = Annotated[
    float | None,
    Query(ge=0, le=MAX_DEADLINE, description="Seconds until the answer is needed; the source's rule without it."),
]


@router.post("", summary="Ask whether an image may be published", **examples.GATE)
async def gate(
    request: Request, key: Submitter, services: Shared, idempotency_key: SubmissionKey = None, within: Within = None
) -> Response:
    """The image is the body or a form's part, as for `/v1/images`, or a JSON object names its `uri`.

    The answer is `allow`, `hold` or `refuse`, with the reason: `decided`, `late` (no verdict in time; the check goes
    on) or `failed` (the check ended without a verdict). The time that the image takes to arrive counts.
    """
    began = time.monotonic()
    try:
        receipt, rule = await _accept(request, key, services, idempotency_key)
    except ClientDisconnect:
        note(request, cut=True)
        return Response(status_code=499)  # the client is gone
    judged = await _judge(receipt.check_id, rule, services, began + (rule.deadline if within is None else within))
    note(request, check_id=str(receipt.check_id), answer=str(judged[0]), reason=str(judged[1]))
    return JSONResponse(_document(receipt.check_id, *judged))


async def _pict_rs_key(request: Request) -> ApiKey:
    """pict-rs sends no header of its own, but the user and the password of the address that it is configured with."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        _, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        secret = password.decode() if scheme.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        secret = ""
    if not secret:
        raise RefusedError(
            ErrorCode.NO_CREDENTIALS, "write the API key as the password of the address: https://pict-rs:susy_…@HOST"
        )
    return await admitted(request, secret, Scope.SUBMIT)


@router.post("/pict-rs", summary="The external validation of pict-rs", **examples.PICT_RS)
async def pict_rs(
    request: Request, services: Shared, key: Annotated[ApiKey, Depends(_pict_rs_key)], within: Within = None
) -> Response:
    """Media that pict-rs asks about before it keeps them: 200 accepts, 422 refuses. The query names the `source`.

    pict-rs knows no third answer; `hold` becomes what the source's rule `yes_or_no` says. Media that are not images
    (videos) and a service that cannot judge at the moment are answered by the rules `failed` and `late`.
    """
    began = time.monotonic()
    source = request.query_params.get("source", "")
    rule = _rules_of(request).of(source)
    check_id: UUID | None = None
    try:
        if request.headers.get("content-type", "").lower().startswith("video/"):
            require_source(key, source)
            judged: tuple[GateAnswer, GateReason, Decision | None] = rule.failed, GateReason.FAILED, None
        else:
            receipt, rule = await _accept(request, key, services, None)
            check_id = receipt.check_id
            judged = await _judge(check_id, rule, services, began + (rule.deadline if within is None else within))
    except ClientDisconnect:
        note(request, cut=True)
        return Response(status_code=499)  # the client is gone
    except SusyError as error:
        if status_of(error) not in (429, 503):
            raise
        log.warning("gate_unavailable", code=str(error.code), error=error.message, source=source)
        judged = rule.late, GateReason.LATE, None
    answer = rule.yes_or_no if judged[0] is GateAnswer.HOLD else judged[0]
    note(request, answer=str(answer), reason=str(judged[1]), **({"check_id": str(check_id)} if check_id else {}))
    if answer is GateAnswer.ALLOW:
        return JSONResponse(_document(check_id, answer, *judged[1:]))
    refused = RefusedError(ErrorCode.UPLOAD_REFUSED, "the image was not accepted")
    return problem_response(refused, **_document(check_id, answer, *judged[1:]))


def _rules_of(request: Request) -> GateRules:
    rules: GateRules = request.app.state.gate_rules
    return rules


async def _accept(
    request: Request, key: ApiKey, services: Services, idempotency_key: str | None
) -> tuple[Receipt, GateRule]:
    """Accept the check of the image in the request, or of the one that it names."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/json":
        submission = await _named(request, key, services, idempotency_key)
        [outcome] = await services.submitter.submit([submission])
        if isinstance(outcome, SusyError):
            raise outcome
        return outcome, _rules_of(request).of(submission.source)
    async with received_image(request, services, key, idempotency_key) as (submission, upload):
        return await submit_upload(submission, upload, services), _rules_of(request).of(submission.source)


async def _named(request: Request, key: ApiKey, services: Services, idempotency_key: str | None) -> Submission:
    body: Any = await read_json(request)
    if idempotency_key is not None and isinstance(body, dict) and body.get("external_id") is None:
        body = body | {"external_id": f"request:{idempotency_key}"}
    try:
        submission = Submission.model_validate(body)
    except ValidationError as error:
        raise RefusedError(ErrorCode.INVALID_MESSAGE, describe_invalid(error)) from None
    require_source(key, submission.source)
    await services.backlog.require_room(submission.source, submission.lane)
    return submission


async def _judge(
    check_id: UUID, rule: GateRule, services: Services, until: float
) -> tuple[GateAnswer, GateReason, Decision | None]:
    """Wait for the check's end, until the time of `time.monotonic()`; then answer as it stands."""
    left = until - time.monotonic()
    try:
        if left > 0:
            with services.in_flight.waiting():
                await services.waiters.wait(check_id, left)
        return rule.judge(await services.call(services.store.show, check_id, with_map=False))
    except TransientError as error:  # the check is accepted, whatever happens to Postgres now
        log.warning("gate_unavailable", code=str(error.code), error=error.message, check_id=str(check_id))
        return rule.late, GateReason.LATE, None


def _document(
    check_id: UUID | None, answer: GateAnswer, reason: GateReason, decision: Decision | None
) -> dict[str, Any]:
    return {
        "answer": str(answer),
        "reason": str(reason),
        "check_id": None if check_id is None else str(check_id),
        "decision": None if decision is None else str(decision),
    }
