"""The OpenAPI description of `/v1/hooks`, with examples. docs/hooks.md shows the same."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from worker.errors import ErrorCode
from worker.serve.openapi import CHECK_ID, problems


class HookDocument(BaseModel):
    """The outcomes of a message's events."""

    accepted: int
    repeated: int
    """Checks that were accepted before."""
    ignored: dict[str, int]
    """Events that are not uploads, by reason."""
    check_ids: list[str]
    """At most 50."""


_EVENT = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "uploads/avatars/4711.png",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "eventName": "s3:ObjectCreated:Put",
            "s3": {
                "bucket": {"name": "uploads"},
                "object": {
                    "key": "avatars%2F4711.png",
                    "size": 4096,
                    "eTag": "b1946ac92492d2347c6235b4d2611184",
                    "sequencer": "16F8F3B9F1D2B3A0",
                },
            },
        }
    ],
}
_OUTCOME = {"accepted": 1, "repeated": 0, "ignored": {}, "check_ids": [CHECK_ID]}
_IGNORED = {"accepted": 0, "repeated": 0, "ignored": {"deleted": 1}, "check_ids": []}

HOOK: dict[str, Any] = {
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"description": "A message in the sender's own form: docs/hooks.md."},
                    "examples": {"minio": {"summary": "An upload to MinIO", "value": _EVENT}},
                }
            },
        },
        "security": [{"API key": []}],
    },
    "responses": {
        200: {
            "model": HookDocument | dict[str, str],
            "description": "Everything that the message reports is in Postgres. tusd gets an empty object.",
            "content": {
                "application/json": {
                    "examples": {
                        "accepted": {"summary": "An upload", "value": _OUTCOME},
                        "ignored": {"summary": "No upload", "value": _IGNORED},
                    }
                }
            },
        },
        **problems(
            (
                ErrorCode.INVALID_EVENT,
                "the S3 event has no list Records",
            ),
            (ErrorCode.UNKNOWN_EVENT_VERSION, "the S3 event's record has version '3.0', and 2.x is read here"),
            (ErrorCode.UNMAPPED_BUCKET, "no mapping of SUSY_HOOKS_FILE has a location in s3://other; add one"),
            (ErrorCode.INVALID_SIGNATURE, "no signature in webhook-signature is that of this body"),
            (ErrorCode.EXPIRED_SIGNATURE, "webhook-timestamp is more than 300 s from the time here"),
            (ErrorCode.UNKNOWN_TOPIC, "the topic is not listed; add it to topics in [sns] of SUSY_HOOKS_FILE"),
            (
                ErrorCode.UNKNOWN_SENDER,
                "the senders are tusd, s3, minio, …",
            ),
            (ErrorCode.HOOKS_DISABLED, "no hooks are accepted; set SUSY_HOOKS_FILE and restart"),
        ),
    },
}
