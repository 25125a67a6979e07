"""What people decided, as labels of stored scans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from schema.scan import Scan
from schema.states import Decision
from worker.store import queries
from worker.store.database import PATIENT, Database
from worker.store.scans import stored_scan


@dataclass(frozen=True, eq=False)
class ReviewedScan:
    """A check that a person has decided about, and its scan."""

    check_id: UUID
    source: str
    review: Decision
    """The decision that counts."""
    audit_rate: float | None
    """The probability in (0, 1] with which its content was drawn for an audit; None when it was not drawn."""
    scan: Scan


@dataclass(frozen=True)
class Audited:
    """How far people are with the checks that were drawn for audits."""

    drawn: int
    reviewed: int


class ReviewedChecks:
    """The part of a store that reads what people decided; raises as its store does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def scans(
        self, *, since: datetime | None = None, source: str | None = None, batch: int = 1000
    ) -> Iterator[list[ReviewedScan]]:
        """Reviewed checks with a live verdict, oldest first, in batches that may be empty; `since` is of acceptance."""
        after = UUID(int=0)
        while ids := self._database.scalars(queries.REVIEWED_CHECKS, {"after": after, "limit": batch}, PATIENT):
            values = {"check_ids": ids, "since": since, "source": source}
            yield self._database.rows(queries.REVIEWED_SCANS, values, _reviewed, PATIENT)
            after = ids[-1]

    def audited(self, *, since: datetime | None = None, source: str | None = None) -> Audited:
        """How many checks were drawn for audits, and how many of them were reviewed."""
        [found] = self._database.rows(queries.AUDITED, {"since": since, "source": source}, Audited, PATIENT)
        return found


def _reviewed(
    *, check_id: UUID, source: str, review_decision: str, audit_rate: float | None, **columns: Any
) -> ReviewedScan:
    return ReviewedScan(check_id, source, Decision(review_decision), audit_rate, stored_scan(**columns).scan)
