"""Accepting submissions: any number in one statement, each exactly once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from uuid_utils.compat import uuid7

from schema.messages import Submission
from worker.errors import ErrorCode, PermanentError
from worker.store import queries
from worker.store.database import Connection, Database, rows, scalars
from worker.store.types import Receipt


@dataclass(frozen=True)
class _Accepted:
    source: str
    external_id: str
    check_id: UUID
    uri: str


def submit_one(database: Database, submission: Submission) -> Receipt:
    """Accept one. Its single INSERT needs no transaction around it, and the upload waits for fewer round trips."""
    with database.connection() as connection:
        outcome = _submit(connection, [submission])[0]
    if isinstance(outcome, PermanentError):
        raise outcome
    return outcome


def submit_many(database: Database, submissions: Iterable[Submission]) -> list[Receipt]:
    """Accept all of them or none. A receipt each, in the order given."""
    with database.connection() as connection, connection.transaction():
        receipts = []
        for outcome in _submit(connection, submissions):
            if isinstance(outcome, PermanentError):
                raise outcome
            receipts.append(outcome)
        return receipts


def submit_each(database: Database, submissions: Iterable[Submission]) -> list[Receipt | PermanentError]:
    """Accept all that contradict nothing. A receipt or a conflict each, in the order given."""
    with database.connection() as connection, connection.transaction():
        return _submit(connection, submissions)


def _submit(connection: Connection, submissions: Iterable[Submission]) -> list[Receipt | PermanentError]:
    given = [(uuid7(), submission) for submission in submissions]
    if not given:
        return []
    # Sorted, so that two sessions that submit the same keys wait for each other in one order and never deadlock.
    by_key = sorted(given, key=lambda item: _key(*item))
    parameters = {
        "ids": [check_id for check_id, _ in by_key],
        "sources": [submission.source for _, submission in by_key],
        "external_ids": [_key(*item)[1] for item in by_key],
        "uris": [submission.uri for _, submission in by_key],
        "lanes": [str(submission.lane) for _, submission in by_key],
        "policies": [submission.policy for _, submission in by_key],
        "attributes": [json.dumps(submission.attributes) for _, submission in by_key],
    }
    created = set(scalars(connection, queries.SUBMIT, parameters))
    before: dict[tuple[str, str], _Accepted] = {}
    if len(created) < len(given):
        keys = {name: parameters[name] for name in ("sources", "external_ids")}
        for accepted in rows(connection, queries.ACCEPTED_BEFORE, keys, _Accepted):
            before[accepted.source, accepted.external_id] = accepted
    return [
        Receipt(check_id, created=True)
        if check_id in created
        else _repeat(submission, before[_key(check_id, submission)])
        for check_id, submission in given
    ]


def _key(check_id: UUID, submission: Submission) -> tuple[str, str]:
    """What makes two submissions one. Without an id of the platform's, each is its own."""
    return submission.source, submission.external_id or str(check_id)


def _repeat(submission: Submission, accepted: _Accepted) -> Receipt | PermanentError:
    if accepted.uri == submission.uri:
        return Receipt(accepted.check_id, created=False)
    return PermanentError(
        ErrorCode.CONFLICT,
        f"{submission.source}/{submission.external_id} was accepted before as {accepted.uri} (check"
        f" {accepted.check_id}) and now names {submission.uri}; give another image another external id",
    )
