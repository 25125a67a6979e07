"""The OpenAPI description of the gate, with examples."""

from __future__ import annotations

from typing import Any

from worker.errors import ErrorCode
from worker.serve.gate.documents import GateDocument
from worker.serve.openapi import CHECK_ID, SUBMISSION, problems
from worker.serve.submitting.examples import FIELD_PARAMETERS, IMAGE_CONTENT, SUBMISSION_SCHEMA, UPLOAD_ERRORS

_NOT_JSON = (ErrorCode.INVALID_JSON, "the body is not valid JSON: expected value at line 1 column 1")
ANSWER = {"answer": "refuse", "reason": "decided", "check_id": CHECK_ID, "decision": "synthetic"}
GATE: dict[str, Any] = {
    "openapi_extra": {
        "parameters": FIELD_PARAMETERS,
        "requestBody": {
            "required": True,
            "content": {
                **IMAGE_CONTENT,
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
        **problems(*UPLOAD_ERRORS, _NOT_JSON),
    },
}
PICT_RS: dict[str, Any] = {
    "openapi_extra": {
        "parameters": FIELD_PARAMETERS,
        "requestBody": {"required": True, "content": {"image/*": IMAGE_CONTENT["image/*"]}},
        "security": [{"Basic": []}],
    },
    "responses": {
        200: {"model": GateDocument, "description": "The image may be kept."},
        **problems(*UPLOAD_ERRORS, (ErrorCode.UPLOAD_REFUSED, "the image was not accepted")),
    },
}
