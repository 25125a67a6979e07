"""Accepting submissions: one INSERT for all of them, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from uuid_utils.compat import uuid7

from schema.messages import Receipt, Submission
from worker.errors import ErrorCode, PermanentError
from worker.store import queries
from worker.store.connection import Plans
from worker.store.database import Database, rows, scalars


def submit_each(
    database: Database, submissions: Iterable[Submission], *, dispatched: bool = False
) -> list[Receipt | PermanentError]:
    """See `Store.submit_each`."""
    submitted = [(uuid7(), submission) for submission in submissions]
    if not submitted:
        return []
    # Sorted, so that sessions that submit the same keys wait for each other in one order and never deadlock.
    by_key = sorted(submitted, key=lambda item: _key(*item))
    values = {
        "ids": [check_id for check_id, _ in by_key],
        "sources": [submission.source for _, submission in by_key],
        "external_ids": [_key(*item)[1] for item in by_key],
        "uris": [submission.uri for _, submission in by_key],
        "lanes": [str(submission.lane) for _, submission in by_key],
        "policies": [submission.policy for _, submission in by_key],
        "attributes": [json.dumps(submission.attributes) for _, submission in by_key],
        "endpoints": [submission.endpoint for _, submission in by_key],
        "expire_at": [submission.expires_at for _, submission in by_key],
        "etags": [submission.etag for _, submission in by_key],
        "version_ids": [submission.version_id for _, submission in by_key],
        "dispatched": dispatched,
    }
    with database.connection(plans=Plans.KEPT) as connection:
        created = set(scalars(connection, queries.SUBMIT, values))
        are_all_new = len(created) == len(submitted)
        known = [] if are_all_new else rows(connection, queries.ACCEPTED_BEFORE, values, _Accepted)
    accepted = {(check.source, check.external_id): check for check in known}
    return [
        Receipt(check_id, created=True)
        if check_id in created
        else _not_created(submission, accepted.get(_key(check_id, submission)))
        for check_id, submission in submitted
    ]


@dataclass(frozen=True)
class _Accepted:
    """A check that was accepted before."""

    source: str
    external_id: str
    check_id: UUID
    uri: str


def _key(check_id: UUID, submission: Submission) -> tuple[str, str]:
    """What identifies a submission. Without an `external_id` each is a check of its own."""
    return submission.source, submission.external_id or str(check_id)


def _not_created(submission: Submission, accepted: _Accepted | None) -> Receipt | PermanentError:
    if accepted is None:
        return PermanentError(
            ErrorCode.UNKNOWN_ENDPOINT,
            f"no endpoint {submission.endpoint!r} is registered for the source {submission.source!r}; see"
            " `susy endpoint list`",
        )
    if accepted.uri == submission.uri:
        return Receipt(accepted.check_id, created=False)
    return PermanentError(
        ErrorCode.CONFLICT,
        f"{submission.source}/{submission.external_id} was accepted before for {accepted.uri} (check"
        f" {accepted.check_id}) and now names {submission.uri}; give the other image another external id",
    )
