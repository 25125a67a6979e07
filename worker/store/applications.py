"""Applying a policy to checks that were decided before: new verdicts take the places of old ones, which are kept.

An application is undone by verdicts that are copies of those that it replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from schema.states import Decision
from schema.verdict import PolicyVersion
from worker.errors import ErrorCode, PermanentError
from worker.store import queries
from worker.store.database import PATIENT, Database, scalars
from worker.store.types import Application, AppliedVerdict, Replacement


class ApplicationTable:
    """The part of a store that replaces verdicts; raises as its store does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        policy: PolicyVersion,
        where: Mapping[str, Any],
        *,
        applied_by: str,
        reason: str | None = None,
        undoes: int | None = None,
    ) -> int:
        """Record that a stored policy is being applied, or that the application `undoes` is being undone: to which
        checks, by whom and why. The application's number."""
        values = {**asdict(policy), "filter": Jsonb(dict(where)), "undoes": undoes}
        application_id: int = self._database.scalars(
            queries.BEGIN_APPLICATION, {**values, "applied_by": applied_by, "reason": reason}
        )[0]
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
        values = {**asdict(policy), **_columns(list(replacements.values()))}
        return self._write(queries.REPLACE_VERDICTS, application_id, list(replacements), values, reviewed=reviewed)

    def undo(self, application_id: int, undone: Sequence[AppliedVerdict], *, reviewed: bool = False) -> set[UUID]:
        """As `replace`, by copies of the verdicts that an earlier application replaced; `undone` still count."""
        values = {
            "ids": [uuid7() for _ in undone],
            "replaced": [each.live_id for each in undone],
            "restored": [each.replaced_id for each in undone],
        }
        check_ids = [each.check_id for each in undone]
        return self._write(queries.UNDO_VERDICTS, application_id, check_ids, values, reviewed=reviewed)

    def _write(
        self, statement: str, application_id: int, check_ids: list[UUID], values: Mapping[str, Any], *, reviewed: bool
    ) -> set[UUID]:
        if not check_ids:
            return set()
        with self._database.connection(PATIENT) as connection, connection.transaction():
            connection.execute(queries.LOCK_DONE, {"check_ids": check_ids})
            return set(
                scalars(connection, statement, {**values, "application_id": application_id, "reviewed": reviewed})
            )

    def finish(self, application_id: int) -> None:
        """Note that it has seen every check."""
        self._database.execute(queries.FINISH_APPLICATION, {"application_id": application_id})

    def get(self, application_id: int) -> Application:
        """One application. Raises `PermanentError` (`unknown_application`)."""
        values = {"application_id": application_id}
        found: Application | None = self._database.row(queries.APPLICATION, values, _application)
        if found is None:
            raise PermanentError(
                ErrorCode.UNKNOWN_APPLICATION,
                f"there is no application {application_id} of a policy; `susy policy history` lists them",
            )
        return found

    def latest(self, limit: int) -> list[Application]:
        """The latest applications, the youngest first."""
        return self._database.rows(queries.APPLICATIONS, {"limit": limit}, _application)

    def written(self, application_id: int, *, batch: int = 1000) -> Iterator[list[AppliedVerdict]]:
        """What an application decided, in batches; no statement locks anything, or runs for long."""
        after = UUID(int=0)
        while True:
            place = {"application_id": application_id, "after": after, "limit": batch}
            found: list[AppliedVerdict] = self._database.rows(queries.APPLIED_VERDICTS, place, _applied, PATIENT)
            if not found:
                return
            yield found
            after = found[-1].verdict_id


def _application(
    *, id: int, policy_name: str, policy_version: str, filter: Mapping[str, Any], **columns: Any
) -> Application:
    return Application(id, PolicyVersion(policy_name, policy_version), where=filter, **columns)


def _applied(
    *,
    written: UUID,
    live: UUID,
    decision: str,
    counts: bool,
    undone: bool,
    reviewed: bool,
    replaced: UUID,
    policy_name: str,
    policy_version: str,
    decision_before: str,
    **columns: Any,
) -> AppliedVerdict:
    return AppliedVerdict(
        verdict_id=written,
        live_id=live,
        decision=Decision(decision),
        is_live=counts,
        is_undone=undone,
        is_reviewed=reviewed,
        replaced_id=replaced,
        replaced_policy=PolicyVersion(policy_name, policy_version),
        replaced_decision=Decision(decision_before),
        **columns,
    )


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
