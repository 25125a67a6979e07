"""The mapping: which uploads are checked, and as what. A TOML file, read once, validated whole.

    [[mapping]]
    location = "s3://uploads/avatars/"
    source = "avatars"

The mapping with the longest matching location applies to an upload.
"""

from __future__ import annotations

import posixpath
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from schema.messages import Submission
from schema.states import Lane
from worker.errors import ConfigurationError, ErrorCode, PermanentError, printable
from worker.hooks.events import Ignored, Upload
from worker.hooks.objects import UploadLocation, content_ids, parse_location
from worker.hooks.signatures import WebhookKey
from worker.validation import describe_invalid, read_toml

MAX_METADATA = 500
"""Characters of one value of an upload's metadata that are kept."""
Name = Annotated[str, Field(min_length=1, max_length=200)]


def _topic_arn(value: str) -> str:
    parts = value.split(":")
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "sns" or not all(parts[3:]):
        raise ValueError("is not the ARN of an SNS topic, such as arn:aws:sns:eu-west-1:123456789012:uploads")
    return value


class Mapping(BaseModel):
    """What is done with the uploads in one place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    location: UploadLocation
    """A bucket, or a prefix of its keys; a folder; the beginning of URLs."""
    source: Name
    lane: Lane = Lane.LIVE
    policy: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    endpoint: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Name of the endpoint that is called back."""
    suffixes: tuple[str, ...] = ()
    """What a key ends in, in any case; without them, every key is an image's."""
    exclude_suffixes: tuple[str, ...] = ()
    """What the key of no image ends in."""
    attributes: dict[str, JsonValue] = Field(default_factory=dict)
    metadata: tuple[str, ...] = ()
    """Names of the upload's metadata that become attributes of the check."""

    @field_validator("location", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        location = parse_location(value)
        if location.scheme == "file" and (
            location.key == "/" or posixpath.normpath(location.key) + "/" != location.key
        ):
            raise ValueError("must be an absolute folder that ends in /, without . and ..")
        return location

    @field_validator("suffixes", "exclude_suffixes")
    @classmethod
    def _lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("an empty suffix fits every key; leave it out")
        return tuple(suffix.lower() for suffix in value)

    @field_validator("metadata")
    @classmethod
    def _lower_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.lower() for name in value)


class Webhooks(BaseModel):
    """The keys of those who send Standard Webhooks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_files: tuple[Path, ...] = ()
    """Files with one `whsec_…` secret or `whpk_…` public key per line: two while a key is being rotated."""

    @cached_property
    def keys(self) -> tuple[WebhookKey, ...]:
        """The keys. Raises `ValueError` that names the file."""
        keys = []
        for path in self.key_files:
            try:
                lines = path.read_text(encoding="utf-8").split()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                raise ValueError(f"key_files names {str(path)!r}, which cannot be read: {why}") from error
            if not lines:
                raise ValueError(f"key_files names {str(path)!r}, which is empty; write a key into it")
            try:
                keys += [WebhookKey.parse(line) for line in lines]
            except ValueError as error:
                raise ValueError(f"the file {str(path)!r} {error}") from error
        return tuple(keys)


class Topics(BaseModel):
    """The topics of Amazon SNS that may deliver."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: tuple[Annotated[str, AfterValidator(_topic_arn)], ...] = ()
    """ARNs. A signature only proves that a message comes from SNS, where everybody may have a topic."""


class HooksFile(BaseModel):
    """All of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mapping: Annotated[tuple[Mapping, ...], Field(min_length=1)]
    webhook: Webhooks = Webhooks()
    sns: Topics = Topics()

    @field_validator("mapping")
    @classmethod
    def _distinct(cls, value: tuple[Mapping, ...]) -> tuple[Mapping, ...]:
        uris = [mapping.location.uri for mapping in value]
        if repeated := {uri for uri in uris if uris.count(uri) > 1}:
            raise ValueError(f"two mappings have the location {min(repeated)}; keep one of them")
        return value

    def submission(self, upload: Upload) -> Submission | Ignored:
        """The check to make of an upload, or why none is made.

        Raises `PermanentError`: `unmapped_bucket` when no mapping names the bucket, `invalid_event` when the upload's
        own text cannot be stored.
        """
        mapping = self._mapping_of(upload.location)
        if isinstance(mapping, Ignored):
            return mapping
        name = upload.location.key.lower()
        if upload.location.scheme in ("http", "https"):
            name = name.partition("?")[0]
        if (mapping.suffixes and not name.endswith(mapping.suffixes)) or name.endswith(mapping.exclude_suffixes):
            return Ignored.SUFFIX
        kept = {name.lower(): value for name, value in upload.metadata.items()}
        attributes = {
            **{name: kept[name][:MAX_METADATA] for name in mapping.metadata if name in kept},
            **mapping.attributes,
        }
        external_id = (
            upload.external_id
            or content_ids(upload.location, version_id=upload.version_id, etag=upload.etag, modified=upload.modified)[0]
        )
        try:
            return Submission(
                source=mapping.source,
                uri=upload.location.uri,
                external_id=external_id,
                lane=mapping.lane,
                policy=mapping.policy,
                endpoint=mapping.endpoint,
                # Google's events carry the tag of another interface than the one by which objects are read.
                etag=None if upload.location.scheme == "gs" else upload.etag,
                version_id=upload.version_id,
                attributes=attributes,
            )
        except ValidationError as error:
            raise PermanentError(ErrorCode.INVALID_EVENT, f"the upload: {describe_invalid(error)}") from error

    def _mapping_of(self, location: UploadLocation) -> Mapping | Ignored:
        place = (location.scheme, location.bucket)
        same_bucket = [
            mapping for mapping in self.mapping if (mapping.location.scheme, mapping.location.bucket) == place
        ]
        if not same_bucket:
            raise PermanentError(
                ErrorCode.UNMAPPED_BUCKET,
                f"no mapping of SUSY_HOOKS_FILE has a location in {location.scheme}://{printable(location.bucket)}; "
                "add one, or let the sender not report it",
            )
        if location.scheme == "file" and posixpath.normpath(location.key) != location.key:
            return Ignored.PREFIX
        fitting = [mapping for mapping in same_bucket if location.key.startswith(mapping.location.key)]
        return max(fitting, key=lambda mapping: len(mapping.location.key), default=Ignored.PREFIX)


def load_hooks(path: Path) -> HooksFile:
    """Read the file. Raises `ConfigurationError` (`hooks_invalid`) naming the file, the key and the remedy."""
    try:
        hooks = HooksFile.model_validate(read_toml(path))
        hooks.webhook.keys  # noqa: B018 (reads the files of keys)
    except ValidationError as error:
        raise ConfigurationError(
            ErrorCode.HOOKS_INVALID, f"hooks file {path}: {describe_invalid(error, whole='file')}"
        ) from error
    except ValueError as error:
        raise ConfigurationError(ErrorCode.HOOKS_INVALID, f"hooks file {path} {error}") from error
    return hooks
