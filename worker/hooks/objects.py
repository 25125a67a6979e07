"""An object in a storage: its URI, the id under which its content is checked once, and the order of its events."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from schema.messages import bounded_external_id

_NO_CONTENT = re.compile(r"d41d8cd98f00b204e9800998ecf8427e(-\d+)?")
"""The MD5 of no bytes. SeaweedFS gives it to every upload by tus of the same number of parts."""
_SAFE = "/!$&'()*+,;=:@"
"""Characters of a path that need no escape (RFC 3986), beside letters, digits and `-._~`."""


@dataclass(frozen=True)
class UploadLocation:
    """Where an object or a file is."""

    scheme: str
    """`s3`, `gs`, `az`, `https`, `http` or `file`."""
    bucket: str
    """Bucket, container or host; empty for a file."""
    key: str
    """As the storage has it, without any encoding; for a file its absolute path, for a URL what follows the host."""

    @property
    def uri(self) -> str:
        """The URI by which a worker reads it. The key of an object is written as it is."""
        if self.scheme == "file":
            return self.escaped
        separator = "" if self.scheme in ("http", "https") else "/"
        return f"{self.scheme}://{self.bucket}{separator}{self.key}"

    @property
    def escaped(self) -> str:
        """The same with the key's special characters escaped, so that something may follow after `#`."""
        separator = "" if self.scheme in ("file", "http", "https") else "/"
        return f"{self.scheme}://{self.bucket}{separator}{quote(self.key, safe=_SAFE)}"


def parse_location(uri: str) -> UploadLocation:
    """The location that a URI or an absolute path names. Raises `ValueError`, whose text continues the URI.

    Only what it says is looked at: a host is judged when the image is fetched, a path when it is opened.
    """
    if uri.startswith("/"):
        return UploadLocation("file", "", uri)
    scheme, separator, rest = uri.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("s3", "gs", "az", "http", "https", "file"):
        raise ValueError("does not begin with s3://, gs://, az://, https://, http://, file:/// or /")
    bucket, slash, path = rest.partition("/")
    if scheme == "file":
        if bucket or not slash:
            raise ValueError("names another host; write file:///path")
        return UploadLocation(scheme, "", decode_key("/" + path, plus_is_space=False))
    if not bucket or "@" in bucket or re.search(r"[\s?#\\%]", bucket):
        raise ValueError("has no valid bucket or host")
    if scheme in ("http", "https"):
        return UploadLocation(scheme, bucket.lower(), slash + path)
    return UploadLocation(scheme, bucket, path)


def decode_key(encoded: str, *, plus_is_space: bool) -> str:
    """A key from its percent-encoded form. Raises `ValueError` unless it is UTF-8.

    S3 encodes the keys of its events as a form does, where `+` is a space.
    """
    text = encoded.replace("+", " ") if plus_is_space else encoded
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 when its escapes are decoded") from None


def usable_etag(etag: str | None) -> str | None:
    """An ETag without its quotes; None where it says nothing about the content."""
    stripped = (etag or "").strip().removeprefix("W/").strip('"')
    return None if not stripped or _NO_CONTENT.fullmatch(stripped) else stripped


def usable_version(version_id: str | None) -> str | None:
    """A version id; None for what stands for it in a bucket without versions."""
    return None if version_id in (None, "", "null") else version_id


def usable_sequencer(sequencer: str | None) -> str | None:
    """A sequencer in upper case; None for what is not one."""
    return sequencer.upper() if sequencer and re.fullmatch(r"[0-9A-Fa-f]{1,64}", sequencer) else None


def content_ids(
    location: UploadLocation, *, version_id: str | None = None, etag: str | None = None, modified: int | None = None
) -> list[str]:
    """The ids that this content may have in the ledger. The first is the one to give it.

    A new version of a key is a new check, and a repeated event of the same one is not: the id has the version or, in a
    bucket without versions, the ETag. The last one names the key alone, as senders report it that know neither.
    """
    base = location.escaped
    suffixes = [
        f"#version={version_id}" if version_id else None,
        f"#etag={etag}" if etag else None,
        f"#modified={modified}" if modified is not None else None,
        "",
    ]
    return [bounded_external_id(base + suffix) for suffix in suffixes if suffix is not None]


def is_older(sequencer: str, other: str) -> bool:
    """Whether one of two sequencers of the same key is the older one.

    They are hexadecimal digits of one case, compared as text after the shorter one has been filled with zeros on its
    right.
    """
    length = max(len(sequencer), len(other))
    return sequencer.ljust(length, "0") < other.ljust(length, "0")
