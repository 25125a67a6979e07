"""The OpenAPI description of submissions, with examples. docs/http.md shows the same."""

from __future__ import annotations

from typing import Any

from schema.messages import Submission
from worker.errors import ErrorCode
from worker.serve.openapi import BODY_PROBLEMS, CHECK_ID, SUBMISSION, inlined, problems
from worker.serve.problems import RefusedError, problem_document
from worker.serve.submitting.documents import ReceiptDocument, ReceiptList, StoredDocument

SECOND = {"source": "avatars", "external_id": "upload-4712", "uri": "/images/2026/4712.jpg", "lane": "backfill"}
RECEIPT = {"check_id": CHECK_ID, "created": True}
SUBMISSION_SCHEMA = inlined(Submission.model_json_schema())

_SUBMIT_ERRORS = (
    (ErrorCode.MISSING_SCOPE, "the API key 'hooks' lacks the scope submit; it has read"),
    (ErrorCode.FORBIDDEN_SOURCE, "the API key 'hooks' may not use the source 'chat'"),
    (ErrorCode.CONFLICT, "avatars/upload-4711 was accepted before for another image"),
    (ErrorCode.RATE_LIMITED, "the API key has sent more than 200 requests per second"),
    (ErrorCode.BACKLOG_FULL, "the oldest check of 'avatars' in the lane live has waited for 4000 s"),
)
_SUBMIT_PROBLEMS = problems(*_SUBMIT_ERRORS)

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

FIELD_PARAMETERS = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "schema": {"type": "string"},
        "description": f"As the field `{name}` of a check" + ("; a JSON object." if name == "attributes" else "."),
    }
    for name in ("source", "external_id", "lane", "policy", "endpoint", "expires_at", "attributes")
]
IMAGE_CONTENT = {
    **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("application/octet-stream", "image/*")},
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["image"],
            "properties": {
                "image": {"type": "string", "format": "binary"},
                **{str(parameter["name"]): {"type": "string"} for parameter in FIELD_PARAMETERS},
            },
        }
    },
}
UPLOAD_ERRORS = (
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
_UPLOAD_PROBLEMS = problems(*UPLOAD_ERRORS)
STORED = RECEIPT | {"uri": f"/storage/{'0a' * 32}"}
IMAGES: dict[str, Any] = {
    "openapi_extra": {
        "parameters": FIELD_PARAMETERS,
        "requestBody": {"required": True, "content": IMAGE_CONTENT},
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
