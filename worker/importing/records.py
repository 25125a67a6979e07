"""Reading what is to be imported: the lines of a manifest or the files of a folder, each as a submission or a reject.

A record of a manifest is one line, so that a malformed one ends where its line ends and does not affect its neighbours.
For this reason a quoted CSV field cannot contain a line break here.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch
from itertools import chain, count
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote_from_bytes

from pydantic import ValidationError
from pydantic_core import from_json

from schema.messages import Submission, bounded_external_id
from schema.states import Lane
from worker.errors import ErrorCode, InputDataError
from worker.sources.files import uri_of
from worker.validation import describe_invalid

MAX_LINE = 262_144
"""Bytes of a line; a longer one is rejected without being held in memory."""
MAX_TEXT = 500
"""Characters of a rejected line that are reported."""
OWN_COLUMNS = ("uri", "external_id", "source", "lane", "policy", "endpoint", "expires_at", "etag", "version_id")
"""CSV columns that are fields of a submission; all others become attributes."""

Line = tuple[int, bytes | None]
"""Number from 1, and content without its line break; None when it is too long."""
Fields = dict[str, Any]


class ManifestFormat(StrEnum):
    """The syntax of a manifest."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True)
class Record:
    """A line or file that can be submitted."""

    number: int
    """Of the line in a manifest, or of the file in a folder, from 1."""
    text: str
    """The line, or the file's URI: what is reported if it is rejected later."""
    submission: Submission


@dataclass(frozen=True)
class Reject:
    """A line or file that cannot be submitted."""

    number: int
    code: str
    """An `ErrorCode`."""
    reason: str
    text: str


@dataclass(frozen=True)
class Defaults:
    """Values for lines that do not set them."""

    source: str
    lane: Lane = Lane.BACKFILL


# --- Manifests


def read_manifest(
    stream: BinaryIO, defaults: Defaults, manifest_format: ManifestFormat | None = None
) -> Iterator[Record | Reject]:
    """Every line that is not blank, in order. Raises `InputDataError` when the first line cannot be read."""
    lines = _lines(stream)
    first = next(lines, None)
    if first is None:
        raise _invalid_manifest("it is empty; a CSV begins with a header")
    number, content = first
    if content is not None:
        content = content.removeprefix(b"\xef\xbb\xbf")  # the byte order mark that spreadsheets write
    if manifest_format is None:
        manifest_format = ManifestFormat.JSONL if (content or b"").lstrip().startswith(b"{") else ManifestFormat.CSV
    if manifest_format is ManifestFormat.CSV:
        return _records(lines, _csv_parser(content), defaults)
    return _records(chain([(number, content)], lines), _parse_json, defaults)


def _lines(stream: BinaryIO) -> Iterator[Line]:
    number = 0
    while content := stream.readline(MAX_LINE):
        number += 1
        if len(content) < MAX_LINE or content.endswith(b"\n"):
            yield number, content.rstrip(b"\r\n")
            continue
        while content and not content.endswith(b"\n"):
            content = stream.readline(MAX_LINE)
        yield number, None


def _records(lines: Iterable[Line], parse: Callable[[str], Fields], defaults: Defaults) -> Iterator[Record | Reject]:
    for number, content in lines:
        if content is None:
            yield _invalid(number, f"the line is longer than {MAX_LINE} bytes", "")
            continue
        if not content.strip():
            continue
        try:
            text = content.decode()
        except UnicodeDecodeError:
            shown = content[:MAX_TEXT].decode(errors="replace")
            yield _invalid(number, "the line is not valid UTF-8; save the manifest in that encoding", shown)
            continue
        try:
            yield Record(number, text, submission_of(parse(text), defaults))
        except ValueError as error:
            yield _invalid(number, str(error), text)


def _csv_parser(header: bytes | None) -> Callable[[str], Fields]:
    try:
        names = [name.strip() for name in _csv_cells((header or b"").decode())]
    except ValueError as error:
        raise _invalid_manifest(f"its header is invalid ({error})") from error
    if "uri" not in names:
        raise _invalid_manifest(f"its header has no column uri, only {', '.join(names)[:MAX_TEXT]!r}")
    if len(set(names)) < len(names) or "" in names:
        raise _invalid_manifest("two columns of its header have the same name, or one has none")

    def parse(text: str) -> Fields:
        cells = _csv_cells(text)
        if len(cells) != len(names):
            raise ValueError(f"the line has {len(cells)} columns, the header has {len(names)}")
        values = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
        attributes = {name: values.pop(name) for name in names if name in values and name not in OWN_COLUMNS}
        return {**values, "attributes": attributes}

    return parse


def _csv_cells(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise ValueError(f"not valid CSV: {error}") from error


def _parse_json(text: str) -> Fields:
    try:
        fields = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        # The parser sees one line and calls it line 1.
        raise ValueError(f"not valid JSON: {str(error).replace(' at line 1 ', ' at ')}") from error
    if not isinstance(fields, dict):
        raise ValueError("expected a JSON object on each line")  # noqa: TRY004 (as any other fault of a line)
    fields.pop("version", None)  # where the manifest was made from messages
    return fields


def submission_of(fields: Mapping[str, Any], defaults: Defaults) -> Submission:
    """The submission with a line's fields. Raises `ValueError` that says in one line what is invalid.

    Without an `external_id` the URI of the image becomes the id. A line thus has the same id in every manifest, and an
    import can be repeated.
    """
    values = {"source": defaults.source, "lane": defaults.lane, **fields}
    if not values.get("external_id") and isinstance(values.get("uri"), str) and values["uri"]:
        values["external_id"] = bounded_external_id(values["uri"])
    try:
        return Submission.model_validate(values)
    except ValidationError as error:
        raise ValueError(describe_invalid(error, whole="line")) from error


def _invalid(number: int, reason: str, text: str) -> Reject:
    return Reject(number, str(ErrorCode.INVALID_MESSAGE), reason, text[:MAX_TEXT])


def _invalid_manifest(why: str) -> InputDataError:
    return InputDataError(ErrorCode.MANIFEST_INVALID, f"the manifest cannot be read: {why}; see docs/operations.md")


# --- Folders


def walk_folder(
    folder: Path, defaults: Defaults, *, patterns: Sequence[str] = (), exclude: Path | None = None
) -> Iterator[Record | Reject]:
    """A record for each regular file whose name matches a pattern (any, without patterns), except `exclude`.

    Files come in the order in which the file system lists them: sorting would hold the names of a large folder in
    memory, and is not needed to repeat an import, because a file's id is its path inside the folder. Links are not
    followed. Raises `InputDataError` when the folder cannot be listed.
    """
    root = folder.resolve()
    numbers = count(1)
    try:
        listings = [os.scandir(root)]
    except OSError as error:
        why = f"{str(folder)!r} cannot be listed ({error.strerror}); name a folder that the importing user may read"
        raise InputDataError(ErrorCode.MANIFEST_INVALID, why) from error
    try:
        while listings:
            try:
                entry = next(listings[-1], None)
                if entry is None:
                    listings.pop().close()
                elif entry.is_dir(follow_symlinks=False):
                    listings.append(os.scandir(entry.path))
                elif entry.is_file(follow_symlinks=False) and _matches(entry, patterns, exclude):
                    yield _file_record(next(numbers), entry.path, root, defaults)
            except OSError as error:
                path = str(error.filename or root)
                reason = f"{path!r} cannot be listed ({error.strerror}); give the importing user permission"
                yield Reject(next(numbers), str(ErrorCode.UNREADABLE), reason, path)
    finally:
        for listing in listings:
            listing.close()


def _matches(entry: os.DirEntry[str], patterns: Sequence[str], exclude: Path | None) -> bool:
    if exclude is not None and entry.name == exclude.name and Path(entry.path) == exclude:
        return False
    return not patterns or any(fnmatch(entry.name, pattern) for pattern in patterns)


def _file_record(number: int, path: str, root: Path, defaults: Defaults) -> Record | Reject:
    uri, name = uri_of(path), os.path.relpath(path, root)
    if uri != path:
        name = quote_from_bytes(os.fsencode(name))
    try:
        return Record(number, uri, submission_of({"uri": uri, "external_id": bounded_external_id(name)}, defaults))
    except ValueError as error:
        return _invalid(number, str(error), uri)
