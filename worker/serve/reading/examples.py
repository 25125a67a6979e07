"""The OpenAPI description of reading checks, with examples. docs/http.md shows the same."""

from __future__ import annotations

from typing import Any

from worker.errors import ErrorCode
from worker.serve.openapi import CHECK_ID, CHECK_PROBLEMS, SUBMISSION, problems
from worker.serve.reading.documents import CheckDocument

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

CHECK: dict[int | str, dict[str, Any]] = {
    200: {"model": CheckDocument, "content": {"application/json": {"example": QUEUED}}},
    **CHECK_PROBLEMS,
}
CANCEL: dict[int | str, dict[str, Any]] = {
    200: {"model": CheckDocument, "content": {"application/json": {"example": QUEUED | {"state": "cancelled"}}}},
    **CHECK_PROBLEMS,
    **problems((ErrorCode.NOT_CANCELLABLE, f"check {CHECK_ID} is done; only a queued one is cancelled")),
}
