"""The names of objects in object stores: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`.

A key is written as it is, as the stores' own command lines do: nothing in it is percent-decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from worker.errors import ErrorCode, PermanentError

MAX_KEY_BYTES = 1024

_BUCKET = r"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._-]{1,221})"
_LOCATION = re.compile(rf"{_BUCKET}/(.+)", re.DOTALL)
_RULE = re.compile(rf"{_BUCKET}(?:/(.*))?")


@dataclass(frozen=True)
class Location:
    """One object."""

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Raises `PermanentError` (`unsupported_source`, `key_unsupported`)."""
        found = _LOCATION.fullmatch(uri)
        if found is None:
            raise PermanentError(
                ErrorCode.UNSUPPORTED_SOURCE, "not of the form s3://bucket/key (or gs://bucket/key, az://container/key)"
            )
        location = cls(found[1], found[2], found[3])
        segments = location.key.split("/")
        if (
            any(segment in ("", ".", "..") for segment in segments)
            or any(letter < " " or letter == "\x7f" for letter in location.key)
            or len(location.key.encode()) > MAX_KEY_BYTES
        ):
            raise PermanentError(
                ErrorCode.KEY_UNSUPPORTED,
                f"{location}: a key with empty parts, with . or .. as a part, with control characters, or of more than "
                f"{MAX_KEY_BYTES} bytes cannot be read; rename the object",
            )
        return location

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class BucketRule:
    """A bucket, or the part of it below a prefix, that may be read."""

    scheme: str
    bucket: str
    prefix: str
    """Empty, or ends with `/`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`s3://bucket` or `s3://bucket/prefix/`. Raises `ValueError`."""
        found = _RULE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not of the form s3://bucket or s3://bucket/prefix/ (or gs://, az://)")
        prefix = (found[3] or "").rstrip("/")
        if prefix and any(part in ("", ".", "..") for part in prefix.split("/")):
            raise ValueError(f"{text!r} has an empty part, or . or .. as a part")
        return cls(found[1], found[2], f"{prefix}/" if prefix else "")

    def allows(self, location: Location) -> bool:
        return (location.scheme, location.bucket) == (self.scheme, self.bucket) and location.key.startswith(self.prefix)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}"
