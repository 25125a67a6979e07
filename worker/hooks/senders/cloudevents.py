"""CloudEvents 1.0 over HTTP: structured, binary and batched.

Read are the types `image.uploaded` (`platform`), `google.cloud.storage.object.v1.finalized` (Eventarc) and
`Microsoft.Storage.BlobCreated` (Azure Event Grid). The envelope is four attributes, and a queue's consumer reads it
too, so it needs no library here; the tests send what the `cloudevents` package makes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import Field

from worker.errors import PermanentError
from worker.hooks.events import (
    Event,
    Ignored,
    Message,
    Payload,
    Refused,
    Skipped,
    invalid,
    parse_json,
    unknown_version,
    validated,
)
from worker.hooks.objects import UploadLocation, decode_key
from worker.hooks.senders import platform
from worker.hooks.senders.s3 import object_event

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
VERSION = "1.0"
MAX_BATCH = 1000

GOOGLE_FINALIZED = "google.cloud.storage.object.v1.finalized"
GOOGLE_DELETED = "google.cloud.storage.object.v1.deleted"
AZURE_CREATED = "Microsoft.Storage.BlobCreated"
AZURE_DELETED = "Microsoft.Storage.BlobDeleted"

_WHAT = "the CloudEvent"


class _Envelope(Payload):
    id: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    type: Annotated[str, Field(min_length=1)]


class _GoogleObject(Payload):
    bucket: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    size: int | None = None
    """A string in JSON."""
    generation: str | None = None
    etag: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class _AzureBlob(Payload):
    url: Annotated[str, Field(min_length=1)]
    size: int | None = Field(None, alias="contentLength")
    etag: str | None = Field(None, alias="eTag")
    sequencer: str | None = None


def read(message: Message) -> list[Event]:
    """The events of a message, whatever its mode."""
    media_type = message.headers.get("content-type", STRUCTURED).partition(";")[0].strip().lower()
    if "ce-specversion" in message.headers:
        return [_event(_binary(message))]
    document = parse_json(message.body, _WHAT)
    if media_type == BATCHED or isinstance(document, list):
        if not isinstance(document, list) or len(document) > MAX_BATCH:
            raise invalid(f"the batch of CloudEvents is not a list of at most {MAX_BATCH}")
        return [_event_of_batch(item) for item in document]
    return [_event(document)]


def _binary(message: Message) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        name.removeprefix("ce-"): unquote(value) for name, value in message.headers.items() if name.startswith("ce-")
    }
    return {**attributes, "data": parse_json(message.body, f"the data of {_WHAT}") if message.body else None}


def _event_of_batch(document: Any) -> Event:
    try:
        return _event(document)
    except PermanentError as error:
        return Refused(error)


def _event(document: Any) -> Event:
    if not isinstance(document, Mapping):
        raise invalid(f"{_WHAT} is not a JSON object")
    if "specversion" not in document:
        raise invalid(f"{_WHAT} has no specversion")
    if document["specversion"] != VERSION:
        raise unknown_version(_WHAT, document["specversion"], VERSION)
    envelope = validated(_Envelope, document, _WHAT)
    match envelope.type:
        case platform.UPLOADED:
            event_id = f"cloudevent:{envelope.source}#{envelope.id}"
            return platform.uploaded(_data(document), event_id=event_id, what=f"the data of {_WHAT}")
        case _ if envelope.type == GOOGLE_FINALIZED:
            return _google(_data(document))
        case _ if envelope.type == AZURE_CREATED:
            return _azure(_data(document))
        case platform.DELETED:
            return Skipped(Ignored.DELETED)
        case _ if envelope.type in (GOOGLE_DELETED, AZURE_DELETED):
            return Skipped(Ignored.DELETED)
    return Skipped(Ignored.NOT_AN_UPLOAD)


def _data(document: Mapping[str, Any]) -> Any:
    encoded = document.get("data_base64")
    if encoded is None:
        return document.get("data")
    try:
        return parse_json(base64.b64decode(encoded, validate=True), f"the data_base64 of {_WHAT}")
    except (binascii.Error, TypeError, ValueError) as error:
        raise invalid(f"the data_base64 of {_WHAT} is not base64") from error


def _google(data: Any) -> Event:
    stored = validated(_GoogleObject, data, f"the data of {_WHAT}")
    return object_event(
        UploadLocation("gs", stored.bucket, stored.name),
        size=stored.size,
        version_id=stored.generation,
        etag=stored.etag,
        metadata=stored.metadata,
    )


def _azure(data: Any) -> Event:
    blob = validated(_AzureBlob, data, f"the data of {_WHAT}")
    try:
        container, _, key = urlsplit(blob.url).path.lstrip("/").partition("/")
        location = UploadLocation("az", container, decode_key(key, plus_is_space=False))
    except ValueError as error:
        raise invalid(f"the url in the data of {_WHAT} is not valid: {error}") from error
    if not container or not key:
        raise invalid(f"the url in the data of {_WHAT} names no blob")
    return object_event(location, size=blob.size, version_id=None, etag=blob.etag, sequencer=blob.sequencer)
