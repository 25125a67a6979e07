"""Applying a policy to checks that were decided before: new verdicts take the places of old ones, which are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from schema.verdict import PolicyVersion
from worker.store import queries
from worker.store.database import PATIENT, Database, scalars
from worker.store.types import Replacement


class ApplicationTable:
    """The part of a store that replaces verdicts; raises as its store does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self, policy: PolicyVersion, where: Mapping[str, Any], *, applied_by: str, reason: str | None = None
    ) -> int:
        """Record that a stored policy is being applied: to which checks, by whom and why. The application's number."""
        values = {**asdict(policy), "filter": Jsonb(dict(where)), "applied_by": applied_by, "reason": reason}
        application_id: int = self._database.scalars(queries.BEGIN_APPLICATION, values)[0]
        return application_id

    def replace(
        self,
        application_id: int,
        policy: PolicyVersion,
        replacements: Mapping[UUID, Replacement],
        *,
        reviewed: bool = False,
    ) -> set[UUID]:
        """Let verdicts of `policy` take the places of those that they name, in one transaction; of which checks.

        The others keep their verdict: another one has replaced it meanwhile, or, unless `reviewed`, a person has
        decided. Each decision that changes has an event. Repeating the call changes nothing.
        """
        if not replacements:
            return set()
        values = {
            **asdict(policy),
            "application_id": application_id,
            "reviewed": reviewed,
            **_columns(list(replacements.values())),
        }
        with self._database.connection(PATIENT) as connection, connection.transaction():
            connection.execute(queries.LOCK_DONE, {"check_ids": list(replacements)})
            return set(scalars(connection, queries.REPLACE_VERDICTS, values))

    def finish(self, application_id: int) -> None:
        """Note that it has seen every check."""
        self._database.execute(queries.FINISH_APPLICATION, {"application_id": application_id})


_json = json.JSONEncoder(check_circular=False).encode
"""Verdicts have no circles to look for."""


def _columns(replacements: Sequence[Replacement]) -> dict[str, list[Any]]:
    """The verdicts, column by column."""
    verdicts = [replacement.verdict for replacement in replacements]
    return {
        "ids": [uuid7() for _ in verdicts],
        "replaced": [replacement.replaced for replacement in replacements],
        "decisions": [verdict.decision.value for verdict in verdicts],
        "scores": [verdict.score for verdict in verdicts],
        "class_scores": [_json(dict(verdict.class_scores)) for verdict in verdicts],
        "generators": [verdict.generator for verdict in verdicts],
        "confidences": [verdict.generator_confidence for verdict in verdicts],
        "reasons": [" ".join(verdict.reasons) for verdict in verdicts],
        "needs_review": [verdict.needs_review for verdict in verdicts],
        "regions": [
            None if each.keeps_regions else _json([vars(region) for region in each.verdict.regions])
            for each in replacements
        ],
    }
