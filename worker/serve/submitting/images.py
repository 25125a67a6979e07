"""`/v1/images`: an image in the request's body, for platforms without a storage that workers can read."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from worker.serve.requests.access_log import note
from worker.serve.requests.authorization import Submitter
from worker.serve.requests.idempotency import SubmissionKey
from worker.serve.requests.limits import BodyLimit
from worker.serve.shared.services import Shared
from worker.serve.submitting import examples
from worker.serve.submitting.uploads import FORM_OVERHEAD, received_image, submit_upload

PATH = "/v1/images"

router = APIRouter(tags=["images"])


def body_limit(max_bytes: int, *paths: str) -> BodyLimit:
    """The limit of bodies that carry an image, for the middleware; the image's own limit is exact."""

    def limit(scope: Scope) -> int | None:
        if scope["path"] not in paths:
            return None
        content_type = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        return None if content_type.lower().startswith(b"application/json") else max_bytes + FORM_OVERHEAD

    return limit


@router.post(PATH, status_code=202, summary="Store an image and submit it", **examples.IMAGES)
async def store(request: Request, key: Submitter, services: Shared, idempotency_key: SubmissionKey = None) -> Response:
    """The image is the body, with its fields in the query, or the part `image` of a form with fields.

    Once this answers 202 or 200, the image is in the storage under its SHA-256 and its check is in Postgres. The same
    external id with the same image is a repeat (200), with another image a conflict (409).
    """
    try:
        async with received_image(request, services, key, idempotency_key) as (submission, upload):
            receipt = await submit_upload(submission, upload, services)
    except ClientDisconnect:
        note(request, cut=True)
        return Response(status_code=499)  # the client is gone
    note(request, check_id=str(receipt.check_id))
    document = {"check_id": str(receipt.check_id), "created": receipt.created, "uri": submission.uri}
    headers = {"Location": f"/v1/checks/{receipt.check_id}"}
    return JSONResponse(document, 202 if receipt.created else 200, headers)
