"""What a line of a manifest becomes: a submission, or a reason why not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from schema.messages import Submission
from schema.states import Lane
from worker.validation import describe_invalid

MAX_ID = 500
"""Characters of an `external_id`, as `Submission` has it."""
MAX_TEXT = 500
"""Characters of a rejected line that are repeated."""


@dataclass(frozen=True)
class Record:
    """A line that can be submitted."""

    number: int
    """Of the line, from 1; of the file, in a folder."""
    text: str
    """What the line says, to be repeated should it be rejected later."""
    submission: Submission


@dataclass(frozen=True)
class Reject:
    """A line that cannot."""

    number: int
    code: str
    """An `ErrorCode`."""
    reason: str
    text: str


@dataclass(frozen=True)
class Defaults:
    """What holds for lines that do not say otherwise."""

    source: str
    lane: Lane = Lane.BACKFILL


def submission_of(fields: Mapping[str, Any], defaults: Defaults) -> Submission:
    """A submission of a line's fields; raises `ValueError` with one line about what is wrong.

    Without an `external_id` the image's URI is its id: so a line is the same line in whatever manifest it
    comes again, and an import can be repeated.
    """
    given = {"source": defaults.source, "lane": defaults.lane, **fields}
    if not given.get("external_id") and isinstance(given.get("uri"), str) and given["uri"]:
        given["external_id"] = bounded_id(given["uri"])
    try:
        return Submission.model_validate(given)
    except ValidationError as error:
        raise ValueError(describe_invalid(error, whole="line")) from error


def bounded_id(name: str) -> str:
    """The name as an `external_id`: itself, or its digest when it is too long."""
    return name if len(name) <= MAX_ID else f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
