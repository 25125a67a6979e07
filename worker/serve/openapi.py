"""The OpenAPI description of every route: its errors, each with an example, and how bodies and answers are shown."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from worker.errors import ErrorCode, SusyError
from worker.serve.problems import MEDIA_TYPE, RefusedError, problem_document, status_of

CHECK_ID = "0199a3c2-8f11-7c3e-9f6b-2d1c4e5a6b7c"

SUBMISSION = {
    "source": "avatars",
    "external_id": "upload-4711",
    "uri": "/images/2026/4711.jpg",
    "attributes": {"country": "NZ"},
}


class Problem(BaseModel):
    """An error as RFC 9457 describes it. `code` is stable; `detail` is one line for people."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:susy-worker:error:conflict"])
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    detail: str
    code: ErrorCode


def problems(*errors: tuple[ErrorCode, str]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of responses with these codes, each with an example."""
    found: dict[int | str, dict[str, Any]] = {}
    for code, detail in errors:
        error: SusyError = RefusedError(code, detail)
        response = found.setdefault(
            status_of(error),
            {"description": "", "content": {MEDIA_TYPE: {"schema": PROBLEM, "examples": {}}}},
        )
        response["content"][MEDIA_TYPE]["examples"][str(code)] = {"value": problem_document(error)}
        response["description"] = ", ".join(f"`{name}`" for name in response["content"][MEDIA_TYPE]["examples"])
    return found


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema of pydantic's without references, which OpenAPI would look for elsewhere."""
    definitions = schema.get("$defs", {})

    def resolve(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                rest = {name: value for name, value in part.items() if name != "$ref"}
                return resolve(definitions[part["$ref"].rpartition("/")[2]]) | rest
            return {name: resolve(value) for name, value in part.items() if name != "$defs"}
        return [resolve(member) for member in part] if isinstance(part, list) else part

    resolved: dict[str, Any] = resolve(schema)
    return resolved


PROBLEM = inlined(Problem.model_json_schema())

COMMON = problems(
    (ErrorCode.NO_CREDENTIALS, "send an API key: Authorization: Bearer susy_…"),
    (ErrorCode.UNKNOWN_KEY, "there is no such API key"),
    (ErrorCode.REVOKED_KEY, "the API key 'hooks' was revoked"),
    (ErrorCode.EXPIRED_KEY, "the API key 'hooks' has expired"),
    (ErrorCode.MISSING_SCOPE, "the API key 'hooks' lacks the scope read; it has submit"),
    (ErrorCode.INVALID_MESSAGE, "wait: Input should be less than or equal to 30"),
    (ErrorCode.RATE_LIMITED, "the API key has sent more than 200 requests per second"),
    (ErrorCode.DATABASE_UNAVAILABLE, "a server that this service needs does not answer at the moment"),
    (ErrorCode.OVERLOADED, "the service works on 500 requests; repeat this later"),
)
"""Answers that every route with a key can give."""

BODY_PROBLEMS = problems(
    (ErrorCode.INVALID_JSON, "the body is not valid JSON: expected value at line 1 column 1"),
    (ErrorCode.TOO_SLOW, "the body did not arrive within 20 s"),
    (ErrorCode.TOO_LARGE, "the body is larger than 4000000 bytes"),
    (ErrorCode.TOO_MANY_ITEMS, "a list has 1 to 100 checks, this one has 101"),
    (ErrorCode.UNSUPPORTED_MEDIA_TYPE, "send the header Content-Type: application/json"),
)
CHECK_PROBLEMS = problems((ErrorCode.UNKNOWN_CHECK, f"no check has the id {CHECK_ID}"))
