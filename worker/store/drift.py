"""What was decided in two periods, counted, to be compared; and which sources have stopped sending."""

from __future__ import annotations

from datetime import date
from typing import Any

from worker.store import queries
from worker.store.database import PATIENT, Database
from worker.store.types import Arrivals, CategoryCount, DriftGroup


class DriftCounts:
    """The part of a store that counts what was decided; raises as its store does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def categories(
        self, period: tuple[date, date], reference: tuple[date, date], *, source: str | None = None
    ) -> list[CategoryCount]:
        """How many checks of each period have which score, decision and generator, in the order of the groups.

        A period is its first day and the day after its last, in UTC, by the time of acceptance.
        """
        values = {
            "since": period[0],
            "until": period[1],
            "reference_since": reference[0],
            "reference_until": reference[1],
            "source": source,
        }
        return self._database.rows(queries.DRIFT_CATEGORIES, values, _count, PATIENT)

    def arrivals(self, *, source: str | None = None) -> list[Arrivals]:
        """When the last check of each source was accepted, and whether its silence is unusual; by source."""
        return self._database.rows(queries.ARRIVALS, {"source": source}, Arrivals, PATIENT)


def _count(*, category: str, seen: int, before: int, **group: Any) -> CategoryCount:
    return CategoryCount(DriftGroup(**group), category, seen, before)
