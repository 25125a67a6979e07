"""Reading a manifest line by line: CSV with a header, or one JSON object a line.

A record is one line, so that a broken one ends where its line does and takes no neighbour with it. That is why
a quoted CSV field cannot hold a line break here.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import chain
from typing import Any, BinaryIO

from pydantic_core import from_json

from worker.errors import ErrorCode, InputDataError, SetupError
from worker.importing.records import MAX_TEXT, Defaults, Record, Reject, submission_of

MAX_LINE = 262_144
"""Bytes of a line; a longer one is rejected without being kept in memory."""
OWN_COLUMNS = ("uri", "external_id", "source", "lane", "policy")
"""Columns of a CSV that are fields of a submission; all others become attributes."""

Line = tuple[int, bytes | None]
"""Number from 1, and content without its line break; None when it is too long."""
Fields = dict[str, Any]


class ManifestFormat(StrEnum):
    """How a manifest is written."""

    CSV = "csv"
    JSONL = "jsonl"


def read_manifest(
    stream: BinaryIO, defaults: Defaults, manifest_format: ManifestFormat | None = None
) -> Iterator[Record | Reject]:
    """Every line that is not blank, in order. Raises `SetupError` when not even the beginning can be read."""
    lines = _lines(stream)
    first = next(lines, None)
    if first is None:
        raise _unreadable("it is empty; a CSV begins with a header")
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
            yield _reject(number, f"the line is longer than {MAX_LINE} bytes", "")
            continue
        if not content.strip():
            continue
        try:
            text = content.decode()
        except UnicodeDecodeError:
            shown = content[:MAX_TEXT].decode(errors="replace")
            yield _reject(number, "the line is not UTF-8; save the manifest in that encoding", shown)
            continue
        try:
            yield Record(number, text, submission_of(parse(text), defaults))
        except ValueError as error:
            yield _reject(number, str(error), text)


def _csv_parser(header: bytes | None) -> Callable[[str], Fields]:
    try:
        names = [name.strip() for name in _csv_cells((header or b"").decode())]
    except ValueError as error:
        raise _unreadable(f"its header cannot be read ({error})") from error
    if "uri" not in names:
        raise _unreadable(f"its header has no column uri, only {', '.join(names)[:MAX_TEXT]!r}")
    if len(set(names)) < len(names) or "" in names:
        raise _unreadable("two columns of its header have the same name, or one has none")

    def parse(text: str) -> Fields:
        cells = _csv_cells(text)
        if len(cells) != len(names):
            raise ValueError(f"the line has {len(cells)} columns, the header has {len(names)}")
        given = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
        attributes = {name: given.pop(name) for name in names if name in given and name not in OWN_COLUMNS}
        return {**given, "attributes": attributes}

    return parse


def _csv_cells(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise ValueError(f"no valid CSV line: {error}") from error


def _parse_json(text: str) -> Fields:
    try:
        fields = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        # The parser counts lines, too, and sees only one.
        raise ValueError(f"no valid JSON: {str(error).replace(' at line 1 ', ' at ')}") from error
    if not isinstance(fields, dict):
        raise ValueError("expected a JSON object on each line")  # noqa: TRY004 (all that is wrong with a line)
    fields.pop("version", None)  # of the message, when the manifest is made of messages
    return fields


def _reject(number: int, reason: str, text: str) -> Reject:
    return Reject(number, str(ErrorCode.INVALID_MESSAGE), reason, text[:MAX_TEXT])


def _unreadable(why: str) -> SetupError:
    return InputDataError(ErrorCode.MANIFEST_INVALID, f"the manifest cannot be read: {why}; see docs/operations.md")
