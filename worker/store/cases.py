"""The regression set: contents about which a person said the opposite of a policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from schema.scan import Scan
from schema.states import Decision
from worker.errors import ErrorCode, PermanentError
from worker.store import queries
from worker.store.database import PATIENT, Database
from worker.store.scans import stored_scan

BATCH = 500


@dataclass(frozen=True, eq=False)
class Case:
    """One content, and what it is."""

    content_sha256: str
    check_id: UUID
    """The check whose verdict was overridden last; it may be pruned."""
    source: str
    external_id: str
    uri: str
    policy_name: str
    """Of the policy whose verdict was overridden."""
    expected: Decision | None
    """Authentic or synthetic; None once the reviews of the check are undone or say inconclusive."""
    overridden: Decision
    """What the policy had decided."""
    added_by: str
    added_at: datetime
    decision: Decision | None
    """Of the live verdict of the check; None when the check is pruned."""
    scan: Scan | None
    """Of that verdict, or else the latest of the content; None when there is none any more."""


class CaseTable:
    """The part of a store that holds the cases; raises as its store does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, *, source: str | None = None, policy: str | None = None, batch: int = BATCH) -> Iterator[list[Case]]:
        """Every case, in the order of the digests, or those of a source or of a policy by name."""
        after = ""
        while True:
            values = {"after": after, "source": source, "policy": policy, "limit": batch}
            cases = self._database.rows(queries.CASES, values, _case, PATIENT)
            if cases:
                yield cases
            if len(cases) < batch:
                return
            after = cases[-1].content_sha256

    def add(self, check_ids: Sequence[UUID], *, by: str) -> int:
        """Make cases of checks that a person called authentic or synthetic; how many there were not before.

        Raises `PermanentError` (`unknown_check`) naming a check that is none of these; the others are added.
        """
        added = self._add(check_ids, by=by)
        known = set(self._database.scalars(queries.ARE_CASES, {"check_ids": list(check_ids)}))
        if missing := [check_id for check_id in check_ids if check_id not in known]:
            raise PermanentError(
                ErrorCode.UNKNOWN_CHECK,
                f"{missing[0]} is not a check with a verdict that a person called authentic or synthetic; review it"
                " first",
            )
        return added

    def add_reviewed(self, *, by: str, since: datetime | None = None, source: str | None = None) -> int:
        """Make cases of all checks that a person called authentic or synthetic; how many there were not before."""
        after, added = UUID(int=0), 0
        while ids := self._database.scalars(queries.REVIEWED_CHECKS, {"after": after, "limit": BATCH}, PATIENT):
            added += self._add(ids, by=by, since=since, source=source)
            after = ids[-1]
        return added

    def _add(
        self, check_ids: Sequence[UUID], *, by: str, since: datetime | None = None, source: str | None = None
    ) -> int:
        values = {"check_ids": list(check_ids), "added_by": by, "since": since, "source": source}
        return len(self._database.scalars(queries.ADD_CASES, values, PATIENT))


def _case(
    *,
    case_sha256: str,
    case_source: str,
    check_id: UUID,
    external_id: str,
    uri: str,
    policy_name: str,
    expected: str | None,
    overridden: str,
    added_by: str,
    added_at: datetime,
    decision: str | None,
    **scan: Any,
) -> Case:
    return Case(
        content_sha256=case_sha256,
        check_id=check_id,
        source=case_source,
        external_id=external_id,
        uri=uri,
        policy_name=policy_name,
        expected=Decision(expected) if expected in (Decision.AUTHENTIC, Decision.SYNTHETIC) else None,
        overridden=Decision(overridden),
        added_by=added_by,
        added_at=added_at,
        decision=None if decision is None else Decision(decision),
        scan=None if scan["id"] is None else stored_scan(**scan).scan,
    )
