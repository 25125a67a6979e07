"""Images in request bodies: streamed to the storage as they arrive, and submitted once they are there.

An upload is kept only when everything about its request is known to be right. It is discarded when the connection
breaks, the body is too large, or a field is invalid.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from schema.messages import Receipt, Submission
from worker.errors import ErrorCode, PermanentError, SusyError
from worker.serve.problems import RefusedError
from worker.serve.requests.authorization import require_source
from worker.serve.shared.services import Services
from worker.serve.submitting.forms import FormReader
from worker.sources.storage import Upload
from worker.store import ApiKey
from worker.validation import describe_invalid

FIELDS = frozenset({"source", "external_id", "lane", "policy", "endpoint", "expires_at", "attributes"})
"""Members of a submission that an image is sent with: parameters of the query, or fields of a form."""
PIECE = 262_144
"""Bytes that are written at once, because each writing changes threads."""
FORM_OVERHEAD = 1_000_000
"""Bytes of a body beyond the image: a form's fields and boundaries."""
_UNSTORED = "-"
"""In the place of a URI until there is one."""


@asynccontextmanager
async def received_image(
    request: Request, services: Services, key: ApiKey, idempotency_key: str | None
) -> AsyncIterator[tuple[Submission, Upload]]:
    """The image in a request, written but not kept, and what is to be submitted of it.

    Raises `RefusedError`: `unsupported_media_type`, `invalid_multipart`, `no_image`, `too_many_bytes`,
    `invalid_message`, `forbidden_source`, `backlog_full`; and what the storage raises (`disk_full`).
    """
    content_type = request.headers.get("content-type", "")
    form = _form(content_type)
    fields = _query(request)
    if form is None:  # all is known before the image arrives
        await _require_acceptable(_submission(fields, _UNSTORED, idempotency_key), services, key)
    upload = await run_in_threadpool(_begin, services)
    try:
        await _write(request, form, upload, services.settings.max_bytes)
        if form is not None:
            said = form.fields()
            if twice := fields.keys() & said.keys():
                raise RefusedError(ErrorCode.INVALID_MESSAGE, f"{min(twice)} is in the query and in the form")
            fields = {**fields, **said}
        submission = _submission(fields, await run_in_threadpool(upload.finish), idempotency_key)
        if form is not None:
            await _require_acceptable(submission, services, key)
        yield submission, upload
    finally:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(upload.discard)


async def submit_upload(submission: Submission, upload: Upload, services: Services) -> Receipt:
    """Keep the image, and accept its check. An image that was accepted before is neither kept again nor replaced.

    Raises `PermanentError` (`conflict`, `unknown_endpoint`), `TransientError`, and what the storage raises.
    """
    if submission.external_id is not None:
        check_id = await services.call(services.store.find, submission.source, submission.external_id)
        if check_id is not None:
            known = await services.call(services.store.show, check_id, with_map=False)
            if known.uri != submission.uri:
                raise PermanentError(
                    ErrorCode.CONFLICT,
                    f"{submission.source}/{submission.external_id} was accepted before for another image (check"
                    f" {check_id}); give this one another external id",
                )
            return Receipt(check_id, created=False)
    await run_in_threadpool(upload.keep)
    [outcome] = await services.submitter.submit([submission])
    if isinstance(outcome, SusyError):
        raise outcome
    return outcome


def _begin(services: Services) -> Upload:
    return services.storage.begin()


def _form(content_type: str) -> FormReader | None:
    """The reader of a form; None when the body is the image itself."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return FormReader(content_type)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return None
    raise RefusedError(
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        "send the image as the body, with the header Content-Type: application/octet-stream or image/…, or as"
        " multipart/form-data",
    )


def _query(request: Request) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in FIELDS:
            if name in fields:
                raise RefusedError(ErrorCode.INVALID_MESSAGE, f"{name} is in the query twice")
            fields[name] = value
    return fields


async def _write(request: Request, form: FormReader | None, upload: Upload, max_bytes: int) -> None:
    """Write the image as it arrives, at most `max_bytes` of it."""
    size = 0
    waiting = bytearray()
    async for chunk in request.stream():
        piece = chunk if form is None else form.feed(chunk)
        size += len(piece)
        if size > max_bytes:
            raise RefusedError(
                ErrorCode.TOO_MANY_BYTES,
                f"the image is larger than SUSY_MAX_BYTES ({max_bytes} bytes); make it smaller, or raise the limit",
            )
        waiting += piece
        if len(waiting) >= PIECE:
            await run_in_threadpool(upload.write, bytes(waiting))
            waiting.clear()
    if size == 0:
        raise RefusedError(ErrorCode.NO_IMAGE, "the request carries no image, or an empty one")
    await run_in_threadpool(upload.write, bytes(waiting))


def _submission(fields: Mapping[str, str], uri: str, idempotency_key: str | None) -> Submission:
    values: dict[str, object] = dict(fields)
    if "attributes" in fields:
        try:
            values["attributes"] = json.loads(fields["attributes"])
        except (ValueError, RecursionError):
            raise RefusedError(ErrorCode.INVALID_MESSAGE, "attributes: must be a JSON object") from None
    if "external_id" not in values and idempotency_key is not None:
        values["external_id"] = f"request:{idempotency_key}"
    if unknown := values.keys() - FIELDS:
        raise RefusedError(
            ErrorCode.INVALID_MESSAGE, f"{min(unknown)}: is none of {', '.join(sorted(FIELDS))} and the image"
        )
    try:
        return Submission.model_validate({**values, "uri": uri})
    except ValidationError as error:
        raise RefusedError(ErrorCode.INVALID_MESSAGE, describe_invalid(error)) from None


async def _require_acceptable(submission: Submission, services: Services, key: ApiKey) -> None:
    require_source(key, submission.source)
    await services.backlog.require_room(submission.source, submission.lane)
