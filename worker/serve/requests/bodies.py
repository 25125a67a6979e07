"""JSON bodies: read within the limits, parsed, or refused with a code."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from worker.errors import ErrorCode
from worker.serve.problems import RefusedError
from worker.validation import describe_invalid

Model = TypeVar("Model", bound=BaseModel)


async def read_json(request: Request) -> Any:
    """The value in the request's body. The limits of size and time apply while it is read.

    Raises `RefusedError` (`unsupported_media_type`, `invalid_json`, `too_large`, `too_slow`).
    """
    require_json(request)
    return parse_json(await request.body())


async def read_model(request: Request, model: type[Model]) -> Model:
    """The object in the request's body. Raises as `read_json` does, and `invalid_message`, which names the member."""
    body = await read_json(request)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise RefusedError(ErrorCode.INVALID_MESSAGE, describe_invalid(error)) from None


def require_json(request: Request) -> None:
    """Raise `RefusedError` (`unsupported_media_type`) unless the body is declared as JSON."""
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != "application/json" and not (declared.startswith("application/") and declared.endswith("+json")):
        raise RefusedError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "send the header Content-Type: application/json")


def parse_json(body: bytes) -> Any:
    """The value of a JSON text in UTF-8. Raises `RefusedError` (`invalid_json`)."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:  # also for what is nested too deeply
        reason = str(error).partition("\n")[0]
        raise RefusedError(ErrorCode.INVALID_JSON, f"the body is not valid JSON: {reason}") from None
