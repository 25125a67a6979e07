"""What upload hooks send. `docs/messages.md` documents the wire form for producers in any language."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from schema.states import Lane

SUBMIT_TASK = "susy.submit"
"""Celery task that accepts a submission; consumed from the queue `submit`."""
CHECK_TASK = "susy.check"
"""Celery task that examines one check; consumed from the lanes' queues. Only susy-worker sends it."""
SUBMIT_QUEUE = "submit"
MAX_EXTERNAL_ID = 500
"""Characters of an `external_id`."""
MAX_ATTRIBUTES_BYTES = 16_384


def bounded_external_id(name: str) -> str:
    """The name as an `external_id`: itself, or its digest when it is too long."""
    return name if len(name) <= MAX_EXTERNAL_ID else f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def storable(text: str) -> str:
    """The text, which Postgres can store. Raises `ValueError`."""
    if "\x00" in text:
        raise ValueError("contains a NUL character, which Postgres cannot store")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("contains half of a surrogate pair, as a cut emoji leaves it, which is not Unicode text")
    return text


def _storable_attributes(attributes: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        encoded = json.dumps(attributes, allow_nan=False)
        for text in _texts(attributes):
            storable(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if len(encoded) > MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"is larger than {MAX_ATTRIBUTES_BYTES} bytes of JSON")
    return attributes


def _texts(value: JsonValue) -> Iterator[str]:
    """Every string in a JSON value, the keys of its objects included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield key
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)


def _moment(value: Any) -> datetime:
    """A time as `datetime` or as ISO 8601 text. A number is refused, because its unit is a guess."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("must be a time with its time zone, such as 2026-01-31T08:00:00Z")
    if not 2000 <= value.year <= 9998:
        raise ValueError("must lie between the years 2000 and 9998")
    return value.astimezone(UTC)


def plain_etag(etag: str) -> str:
    """An entity tag without the quotes and the mark of weakness that HTTP writes and events leave out."""
    return etag.strip().removeprefix("W/").strip('"')


def _etag(text: str) -> str:
    etag = plain_etag(text)
    if not etag:
        raise ValueError("is empty")
    return etag


Text = Annotated[str, AfterValidator(storable)]
Moment = Annotated[datetime, BeforeValidator(_moment)]


class Submission(BaseModel):
    """One request to check one image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[Text, Field(min_length=1, max_length=200)]
    """Name of the surface or service that submits (`avatars`, `chat-uploads`)."""
    uri: Annotated[Text, Field(min_length=1, max_length=4096)]
    """Location of the image: an absolute path, or a `file://`, `https://`, `s3://`, `gs://` or `az://` URI."""
    external_id: Annotated[Text, Field(min_length=1, max_length=MAX_EXTERNAL_ID)] | None = None
    """The platform's own id of the upload. Submitting the same `(source, external_id)` again returns the check that
    exists. Without one, every submission is a new check."""
    lane: Lane = Lane.LIVE
    policy: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    """Name of the policy that decides; the worker's default when absent."""
    attributes: Annotated[dict[str, JsonValue], AfterValidator(_storable_attributes)] = Field(default_factory=dict)
    """Free-form data for the dashboards: surface, uploader's country, …"""
    endpoint: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    """Name of a registered endpoint that is called back when the check ends; that of the source when absent."""
    etag: Annotated[Text, AfterValidator(_etag), Field(min_length=1, max_length=200)] | None = None
    """Entity tag of the image when it was submitted, as events of object stores name it, with or without quotes."""
    version_id: Annotated[Text, Field(min_length=1, max_length=1024)] | None = None
    """Version of the object, in a bucket that keeps versions: this one is examined even if it was replaced since."""
    expires_at: Moment | None = None
    """When the verdict becomes useless. A check that no worker has begun by then ends as `expired`, unexamined."""


@dataclass(frozen=True)
class Receipt:
    """The result of a submission: its check."""

    check_id: UUID
    created: bool
    """False when the same `(source, external_id)` had been accepted before."""


class SubmitMessage(Submission):
    """A submission as it is sent through Redis."""

    version: Literal[1] = 1

    def submission(self) -> Submission:
        """The message without its envelope."""
        return Submission(**self.model_dump(exclude={"version"}))
