"""Errors as `application/problem+json` (RFC 9457) with the codes of `worker.errors`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from worker.errors import ErrorCode, PermanentError, SetupError, SusyError, TransientError
from worker.log import get_logger
from worker.validation import describe_problems

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 5.0
"""Seconds after which to repeat a request that failed because a server is unavailable."""

STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.INVALID_JSON: 400,
    ErrorCode.INVALID_MULTIPART: 400,
    ErrorCode.INVALID_HTTP: 400,
    ErrorCode.NO_CREDENTIALS: 401,
    ErrorCode.UNKNOWN_KEY: 401,
    ErrorCode.REVOKED_KEY: 401,
    ErrorCode.EXPIRED_KEY: 401,
    ErrorCode.INVALID_SIGNATURE: 401,
    ErrorCode.EXPIRED_SIGNATURE: 401,
    ErrorCode.MISSING_SCOPE: 403,
    ErrorCode.UNKNOWN_TOPIC: 403,
    ErrorCode.FORBIDDEN_SOURCE: 403,
    ErrorCode.UNKNOWN_CHECK: 404,
    ErrorCode.UNKNOWN_REVIEW: 404,
    ErrorCode.UNKNOWN_ROUTE: 404,
    ErrorCode.UNKNOWN_SENDER: 404,
    ErrorCode.HOOKS_DISABLED: 404,
    ErrorCode.NO_MAP: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.TOO_SLOW: 408,
    ErrorCode.CONFLICT: 409,
    ErrorCode.CHECK_NOT_ENDED: 409,
    ErrorCode.NOT_FINISHED: 409,
    ErrorCode.NOT_CANCELLABLE: 409,
    ErrorCode.CLAIM_ENDED: 409,
    ErrorCode.TOO_MANY_CLAIMS: 409,
    ErrorCode.TOO_MANY_CHECKS: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.TOO_MANY_BYTES: 413,
    ErrorCode.TOO_MANY_ITEMS: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.INVALID_MESSAGE: 422,
    ErrorCode.NO_IMAGE: 422,
    ErrorCode.UPLOAD_REFUSED: 422,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.BACKLOG_FULL: 429,
    ErrorCode.UNEXPECTED: 500,
    ErrorCode.SETTINGS: 500,
    ErrorCode.MISSING_EXTRA: 501,
    ErrorCode.NO_STORAGE: 501,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.DATABASE_UNAVAILABLE: 503,
    ErrorCode.QUEUE_UNAVAILABLE: 503,
    ErrorCode.DATABASE_OUTDATED: 503,
    ErrorCode.DISK_FULL: 507,
}
"""The status of a code. Others: 422 for a permanent error, 503 for a transient one, 500 for one of the setup."""

_CLOSES_CONNECTION = frozenset({ErrorCode.TOO_LARGE, ErrorCode.TOO_MANY_BYTES, ErrorCode.TOO_SLOW})
"""What is left of such a request's body is not read."""
_INTERNAL = {
    500: "an unexpected error occurred; the log of the service has the details",
    503: "a server that this service needs does not answer at the moment; repeat the request later",
}
"""What clients get instead of messages that name hosts or files of the service."""


class RefusedError(PermanentError):
    """The request is refused as it stands; nothing was written."""

    def __init__(self, code: ErrorCode, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after
        """Seconds after which the same request may succeed."""


def status_of(error: SusyError) -> int:
    """The HTTP status of an error."""
    if error.code in STATUS:
        return STATUS[error.code]
    match error:
        case TransientError():
            return 503
        case SetupError():
            return 500
        case _:
            return 422


def problem_document(error: SusyError, **members: Any) -> dict[str, Any]:
    """The members of a problem: `type`, `title`, `status`, `detail`, `code`, and `members`.

    Details of the service's own failures are left out: they name hosts and files.
    """
    status = status_of(error)
    is_internal = status in _INTERNAL and error.code is not ErrorCode.OVERLOADED
    return {
        "type": f"urn:susy-worker:error:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": status,
        "detail": _INTERNAL[status] if is_internal else error.message,
        "code": str(error.code),
        **members,
    }


def headers_of(error: SusyError) -> dict[str, str]:
    """The headers that belong to an error's status."""
    headers = {}
    status = status_of(error)
    retry_after = getattr(error, "retry_after", None) or (RETRY_AFTER if status == 503 else None)
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="susy-worker"'
    if error.code in _CLOSES_CONNECTION:
        headers["Connection"] = "close"
    return headers


def problem_response(error: SusyError, **members: Any) -> Response:
    """The response for `error`."""
    document = problem_document(error, **members)
    return Response(json.dumps(document).encode(), document["status"], headers=headers_of(error), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    app.add_exception_handler(SusyError, _answer_susy_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(Exception, _answer_unexpected)


async def _answer_susy_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SusyError)
    if status_of(error) >= 500 and error.code is not ErrorCode.OVERLOADED:
        log.error("request_failed", code=str(error.code), error=error.message)
    return problem_response(error)


async def _answer_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [{**problem, "loc": problem["loc"][1:]} for problem in error.errors()]  # without "query" or "path"
    return problem_response(RefusedError(ErrorCode.INVALID_MESSAGE, describe_problems(problems)))


async def _answer_http_exception(_request: Request, error: Exception) -> Response:
    """What the framework itself refuses."""
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            refused = RefusedError(ErrorCode.UNKNOWN_ROUTE, "there is nothing at this path; see /openapi.json")
        case 405:
            refused = RefusedError(ErrorCode.METHOD_NOT_ALLOWED, "this path has no such method; see /openapi.json")
        case 413:
            refused = RefusedError(ErrorCode.TOO_LARGE, str(error.detail))
        case 400:
            refused = RefusedError(ErrorCode.INVALID_JSON, str(error.detail))
        case status:
            refused = RefusedError(ErrorCode.UNEXPECTED, HTTPStatus(status).phrase)
    response = problem_response(refused)
    response.headers.update(error.headers or {})
    return response


async def _answer_unexpected(_request: Request, error: Exception) -> Response:
    return problem_response(PermanentError(ErrorCode.UNEXPECTED, type(error).__name__))
