"""What OpenAPI says of bodies and answers beyond the routes' signatures, with examples. docs/http.md shows the same."""

from __future__ import annotations

from typing import Any

from schema.messages import Submission
from worker.errors import ErrorCode, SusyError
from worker.serve.documents import (
    CheckDocument,
    GateDocument,
    Problem,
    ReceiptDocument,
    ReceiptList,
    StoredDocument,
)
from worker.serve.problems import MEDIA_TYPE, RefusedError, problem_document, status_of

CHECK_ID = "0199a3c2-8f11-7c3e-9f6b-2d1c4e5a6b7c"

SUBMISSION = {
    "source": "avatars",
    "external_id": "upload-4711",
    "uri": "/images/2026/4711.jpg",
    "attributes": {"country": "NZ"},
}
SECOND = {"source": "avatars", "external_id": "upload-4712", "uri": "/images/2026/4712.jpg", "lane": "backfill"}
RECEIPT = {"check_id": CHECK_ID, "created": True}
# Members that are null are left out, because FastAPI drops them from examples.
QUEUED = {
    "check_id": CHECK_ID,
    "state": "queued",
    "attempts": 0,
    **{name: SUBMISSION[name] for name in ("source", "external_id", "uri")},
    "lane": "live",
    "attributes": {"country": "NZ"},
    "created_at": "2026-01-31T08:00:00.123456+00:00",
}


def problems(*errors: tuple[ErrorCode, str]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of answers with these codes, each with an example."""
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
SUBMISSION_SCHEMA = inlined(Submission.model_json_schema())

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
_SUBMIT_ERRORS = (
    (ErrorCode.MISSING_SCOPE, "the API key 'hooks' lacks the scope submit; it has read"),
    (ErrorCode.FORBIDDEN_SOURCE, "the API key 'hooks' may not use the source 'chat'"),
    (ErrorCode.CONFLICT, "avatars/upload-4711 was accepted before for another image"),
    (ErrorCode.RATE_LIMITED, "the API key has sent more than 200 requests per second"),
    (ErrorCode.BACKLOG_FULL, "the oldest check of 'avatars' in the lane live has waited for 4000 s"),
)
_SUBMIT_PROBLEMS = problems(*_SUBMIT_ERRORS)
CHECK_PROBLEMS = problems((ErrorCode.UNKNOWN_CHECK, f"no check has the id {CHECK_ID}"))

_RECEIPTS = {
    "one": {"summary": "One check", "value": RECEIPT},
    "list": {
        "summary": "A list",
        "value": {
            "accepted": 1,
            "repeated": 0,
            "refused": 1,
            "items": [
                {"status": 202, **RECEIPT},
                {
                    "status": 422,
                    "error": problem_document(RefusedError(ErrorCode.INVALID_MESSAGE, "uri: Field required")),
                },
            ],
        },
    },
}

SUBMIT: dict[str, Any] = {
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "oneOf": [
                            SUBMISSION_SCHEMA,
                            {"type": "array", "minItems": 1, "maxItems": 100, "items": SUBMISSION_SCHEMA},
                        ]
                    },
                    "examples": {
                        "one": {"summary": "One check", "value": SUBMISSION},
                        "list": {"summary": "Up to 100", "value": [SUBMISSION, SECOND]},
                    },
                }
            },
        }
    },
    "responses": {
        202: {
            "model": ReceiptDocument | ReceiptList,
            "description": "Accepted; of a list, at least one item is new.",
            "content": {"application/json": {"examples": _RECEIPTS}},
        },
        200: {
            "model": ReceiptDocument | ReceiptList,
            "description": "Accepted before; of a list, no item is new.",
            "content": {"application/json": {"example": RECEIPT | {"created": False}}},
        },
        **BODY_PROBLEMS,
        **_SUBMIT_PROBLEMS,
    },
}
CHECK: dict[int | str, dict[str, Any]] = {
    200: {"model": CheckDocument, "content": {"application/json": {"example": QUEUED}}},
    **CHECK_PROBLEMS,
}
CANCEL: dict[int | str, dict[str, Any]] = {
    200: {"model": CheckDocument, "content": {"application/json": {"example": QUEUED | {"state": "cancelled"}}}},
    **CHECK_PROBLEMS,
    **problems((ErrorCode.NOT_CANCELLABLE, f"check {CHECK_ID} is done; only a queued one is cancelled")),
}


_FIELD_PARAMETERS = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "schema": {"type": "string"},
        "description": f"As the field `{name}` of a check" + ("; a JSON object." if name == "attributes" else "."),
    }
    for name in ("source", "external_id", "lane", "policy", "endpoint", "expires_at", "attributes")
]
_IMAGE_CONTENT = {
    **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("application/octet-stream", "image/*")},
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["image"],
            "properties": {
                "image": {"type": "string", "format": "binary"},
                **{str(parameter["name"]): {"type": "string"} for parameter in _FIELD_PARAMETERS},
            },
        }
    },
}
_UPLOAD_ERRORS = (
    *_SUBMIT_ERRORS,
    (ErrorCode.INVALID_MULTIPART, "the body is not valid multipart/form-data: it ends before its last boundary"),
    (ErrorCode.TOO_SLOW, "the body did not arrive within 20 s"),
    (ErrorCode.TOO_MANY_BYTES, "the image is larger than SUSY_MAX_BYTES (50000000 bytes)"),
    (ErrorCode.TOO_LARGE, "the body is larger than 51000000 bytes"),
    (ErrorCode.TOO_MANY_ITEMS, "the form has more than one image; send one per request"),
    (ErrorCode.UNSUPPORTED_MEDIA_TYPE, "send the image as the body"),
    (ErrorCode.NO_IMAGE, "the request carries no image, or an empty one"),
    (ErrorCode.INVALID_MESSAGE, "source: Field required"),
    (ErrorCode.NO_STORAGE, "this service stores no images; set SUSY_STORAGE to a folder"),
    (ErrorCode.DISK_FULL, "the storage is full"),
)
_UPLOAD_PROBLEMS = problems(*_UPLOAD_ERRORS)
STORED = RECEIPT | {"uri": f"/storage/{'0a' * 32}"}
IMAGES: dict[str, Any] = {
    "openapi_extra": {
        "parameters": _FIELD_PARAMETERS,
        "requestBody": {"required": True, "content": _IMAGE_CONTENT},
    },
    "responses": {
        202: {
            "model": StoredDocument,
            "description": "Stored and accepted.",
            "content": {"application/json": {"example": STORED}},
        },
        200: {
            "model": StoredDocument,
            "description": "Accepted before, with the same image.",
            "content": {"application/json": {"example": STORED | {"created": False}}},
        },
        **_UPLOAD_PROBLEMS,
    },
}
_NOT_JSON = (ErrorCode.INVALID_JSON, "the body is not valid JSON: expected value at line 1 column 1")
ANSWER = {"answer": "refuse", "reason": "decided", "check_id": CHECK_ID, "decision": "synthetic"}
GATE: dict[str, Any] = {
    "openapi_extra": {
        "parameters": _FIELD_PARAMETERS,
        "requestBody": {
            "required": True,
            "content": {
                **_IMAGE_CONTENT,
                "application/json": {"schema": SUBMISSION_SCHEMA, "examples": {"uri": {"value": SUBMISSION}}},
            },
        },
    },
    "responses": {
        200: {
            "model": GateDocument,
            "description": "The answer.",
            "content": {
                "application/json": {
                    "examples": {
                        "decided": {"value": ANSWER},
                        "late": {"value": ANSWER | {"answer": "hold", "reason": "late", "decision": None}},
                    }
                }
            },
        },
        **problems(*_UPLOAD_ERRORS, _NOT_JSON),
    },
}
PICT_RS: dict[str, Any] = {
    "openapi_extra": {
        "parameters": _FIELD_PARAMETERS,
        "requestBody": {"required": True, "content": {"image/*": _IMAGE_CONTENT["image/*"]}},
        "security": [{"Basic": []}],
    },
    "responses": {
        200: {"model": GateDocument, "description": "The image may be kept."},
        **problems(*_UPLOAD_ERRORS, (ErrorCode.UPLOAD_REFUSED, "the image was not accepted")),
    },
}
