"""What every sender's message becomes: uploads, events that are not uploads, and events that are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from worker.errors import ErrorCode, PermanentError
from worker.hooks.objects import UploadLocation
from worker.validation import describe_invalid


class Ignored(StrEnum):
    """Why an event makes no check. The sender is answered as for any other event, and the reason is counted."""

    DELETED = "deleted"
    """An object was deleted, or expired."""
    EMPTY = "empty"
    """The object has no bytes."""
    FOLDER = "folder"
    """A folder, or the empty object by which a storage browser makes one."""
    INTERNAL = "internal"
    """An object that the storage keeps for itself, such as a part of a multipart upload."""
    NOT_AN_UPLOAD = "not_an_upload"
    """Another event of the same sender: tags were changed, an upload has begun."""
    PARTIAL = "partial"
    """A part of an upload, which another event reports as a whole."""
    PREFIX = "prefix"
    """The bucket is mapped, but no mapping's prefix fits the key."""
    SUFFIX = "suffix"
    """The mapping names suffixes, and the key ends in none of them."""
    SUPERSEDED = "superseded"
    """A later event of the same object arrived before."""
    TEST = "test"
    """The sender tried whether its messages arrive."""
    UNCHANGED = "unchanged"
    """The object's bytes are those that were reported before."""


@dataclass(frozen=True)
class Upload:
    """One object that has been stored."""

    location: UploadLocation
    size: int | None = None
    """Bytes; None where the sender does not say."""
    version_id: str | None = None
    etag: str | None = None
    """Without quotes."""
    modified: int | None = None
    """Unix time in seconds. Identifies a content where the sender gives neither version nor ETag."""
    sequencer: str | None = None
    """Orders the events of one key."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the uploader sent along. It is as untrustworthy as the image; a mapping names what is kept of it."""
    external_id: str | None = None
    """The id of the upload, where the sender gives it one; otherwise the object's identity takes its place."""


@dataclass(frozen=True)
class Skipped:
    """An event that is not an upload."""

    reason: Ignored


@dataclass(frozen=True)
class Refused:
    """One event of a message that cannot be used, beside others that can."""

    error: PermanentError


Event = Upload | Skipped | Refused


@dataclass(frozen=True)
class Message:
    """What a sender sent: by HTTP with its headers, or through a queue without."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """By names in lower case."""


Reader = Callable[[Message], list[Event]]
"""Turns a sender's message into events. Knows neither queue nor database, and trusts nothing that it reads.

Raises `PermanentError`: `invalid_event` when the message does not have the sender's documented form,
`unknown_event_version` when it has a version of it that is not known here.
"""


class Payload(BaseModel):
    """A part of a message whose fields are read; further ones are ignored, as senders add some without notice."""


PayloadType = TypeVar("PayloadType", bound=Payload)


def parse_json(body: bytes | str, what: str) -> Any:
    """The JSON value. Raises `PermanentError(invalid_event)`; `what` names the message."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise invalid(f"{what} is not JSON: {error}") from error


def parse_object(body: bytes | str, what: str) -> dict[str, Any]:
    """The same for what must be an object."""
    document = parse_json(body, what)
    if not isinstance(document, dict):
        raise invalid(f"{what} is not a JSON object")
    return document


def validated(model: type[PayloadType], document: Any, what: str) -> PayloadType:
    """The document as `model`. Raises `PermanentError(invalid_event)` that names the fields that are wrong."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid(f"{what}: {describe_invalid(error, whole='message')}") from error


def invalid(why: str) -> PermanentError:
    """The error for a message that does not have the documented form."""
    return PermanentError(ErrorCode.INVALID_EVENT, f"{why}; see docs/hooks.md for the forms that are read")


def unknown_version(what: str, version: object, known: str) -> PermanentError:
    """The error for a version that is not known here."""
    return PermanentError(
        ErrorCode.UNKNOWN_EVENT_VERSION,
        f"{what} has version {str(version)[:50]!r}, and {known} is read here; send that one, or upgrade susy-worker",
    )
