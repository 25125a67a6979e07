"""An upload as a platform reports it itself: the data of a CloudEvent or a Standard Webhook of the type
`image.uploaded`.

`{"uri": "s3://bucket/key", "external_id": …, "size": …, "etag": …, "version_id": …, "metadata": {…}}`; only `uri` is
required. Which images may be named, and as what they are checked, is decided by the mapping.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from schema.messages import MAX_EXTERNAL_ID, bounded_external_id
from worker.hooks.events import Payload, Upload, invalid, validated
from worker.hooks.objects import parse_location, usable_etag, usable_version

UPLOADED = "image.uploaded"
DELETED = "image.deleted"


class _Data(Payload):
    model_config = ConfigDict(extra="forbid")

    uri: Annotated[str, Field(min_length=1, max_length=4096)]
    external_id: Annotated[str, Field(min_length=1, max_length=MAX_EXTERNAL_ID)] | None = None
    size: Annotated[int, Field(ge=0)] | None = None
    etag: str | None = None
    version_id: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


def uploaded(data: Any, *, event_id: str, what: str) -> Upload:
    """The upload. `event_id` identifies the event across repeats; `what` names the message in an error.

    Without an `external_id`, the version or ETag of the object identifies it, and where it has neither, the event.
    """
    fields = validated(_Data, data, what)
    try:
        location = parse_location(fields.uri)
    except ValueError as error:
        raise invalid(f"the uri of {what} {error}") from error
    version_id, etag = usable_version(fields.version_id), usable_etag(fields.etag)
    external_id = fields.external_id or (None if version_id or etag else bounded_external_id(event_id))
    return Upload(
        location,
        size=fields.size,
        version_id=version_id,
        etag=etag,
        metadata=fields.metadata,
        external_id=external_id,
    )
