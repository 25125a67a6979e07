"""Recording an examination: one transaction that ends a check, or leaves no trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Rollback
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from schema.examination import Examination
from schema.verdict import PolicyVersion, Verdict
from worker.errors import TransientError
from worker.store import queries
from worker.store.connection import Connection, Plans
from worker.store.database import PATIENT, Database, rows, scalars
from worker.store.scans import keep_scan, map_columns, scan_columns
from worker.store.types import Claim, RecordOutcome


class Recorder:
    """Records examinations in one ledger. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stored_policies: set[PolicyVersion] = set()
        """Versions that are in the ledger: none is ever deleted."""

    def record(self, claim: Claim, examination: Examination) -> RecordOutcome:
        """End the check with this verdict, if the claim still holds. Repeating the call changes nothing.

        When the connection breaks, the transaction may have been committed or not; the ledger is asked which.
        """
        try:
            with self._database.connection(PATIENT, Plans.KEPT) as connection:
                return self._write(connection, claim, examination)
        except TransientError as broken:
            outcome = _read_back(self._database, claim)
            if outcome is None:
                raise broken from broken.__cause__
            return outcome

    def _write(self, connection: Connection, claim: Claim, examination: Examination) -> RecordOutcome:
        policy = examination.verdict.policy
        adds_to_scan = examination.scan_id is not None and examination.map_png is not None
        if policy in self._stored_policies and not adds_to_scan and not examination.shadows:
            try:
                if _write_at_once(connection, claim, examination):
                    return RecordOutcome.RECORDED
            except psycopg.errors.IntegrityError:
                # Somebody stored a verdict a moment ago, or Postgres was replaced by one without the policy.
                self._stored_policies.discard(policy)
        outcome = _write_step_by_step(connection, claim, examination)
        if outcome is RecordOutcome.RECORDED:
            self._stored_policies.add(policy)
        return outcome


def _write_at_once(connection: Connection, claim: Claim, examination: Examination) -> bool:
    """The usual case: a check without any verdict, of a content that was never seen or whose scan is complete. False
    when it is another case, or the lease was lost, and nothing was written."""
    values = {
        **_key(claim),
        **asdict(examination.source_version),
        **_verdict_columns(claim.lease_token, claim, examination.scan_id, examination.verdict),
        **scan_columns(examination.scan),
        **map_columns(examination),
        "new_scan_id": uuid7(),
        "audit_rate": examination.audit_rate,
    }
    return bool(scalars(connection, queries.RECORD, values))


def _write_step_by_step(connection: Connection, claim: Claim, examination: Examination) -> RecordOutcome:
    verdict = examination.verdict
    content = {"content_sha256": examination.scan.content_sha256, **asdict(examination.source_version)}
    # Statements are sent without waiting for the answer of the one before: two round trips instead of six.
    with connection.pipeline(), connection.transaction():
        finished = connection.execute(queries.FINISH, {**_key(claim), **content})
        connection.execute(queries.KEEP_POLICY, _policy_columns(verdict, examination.policy))
        scan_id = keep_scan(connection, examination)
        is_held = finished.fetchone() is not None
        if not is_held:
            raise Rollback
        # Its id is the token of the lease it is written under, so that a worker can tell whether it is its own.
        values = {
            **_verdict_columns(claim.lease_token, claim, scan_id, verdict), "audit_rate": examination.audit_rate,
        }  # fmt: skip
        connection.execute(queries.ADD_VERDICT, values)
        connection.execute(queries.PROMOTE_SHADOW, values)
        for shadow in examination.shadows:
            connection.execute(queries.KEEP_POLICY, _policy_columns(shadow.verdict, shadow.policy))
            connection.execute(queries.ADD_SHADOW_VERDICT, _verdict_columns(uuid7(), claim, scan_id, shadow.verdict))
    return RecordOutcome.RECORDED if is_held else _outcome(connection, claim) or RecordOutcome.LEASE_LOST


def _policy_columns(verdict: Verdict, document: Mapping[str, Any]) -> dict[str, Any]:
    return {**asdict(verdict.policy), "document": Jsonb(dict(document))}


def _verdict_columns(verdict_id: UUID, claim: Claim, scan_id: UUID | None, verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict_id,
        "check_id": claim.check_id,
        "scan_id": scan_id,
        "policy_name": verdict.policy.name,
        "policy_version": verdict.policy.version,
        "decision": str(verdict.decision),
        "score": verdict.score,
        "class_scores": Jsonb(dict(verdict.class_scores)),
        "generator": verdict.generator,
        "generator_confidence": verdict.generator_confidence,
        "reasons": [str(reason) for reason in verdict.reasons],
        "needs_review": verdict.needs_review,
        "regions": Jsonb([asdict(region) for region in verdict.regions]),
    }


def _read_back(database: Database, claim: Claim) -> RecordOutcome | None:
    with database.connection(PATIENT) as connection:
        connection.execute(queries.AWAIT_CHECK, _key(claim))
        return _outcome(connection, claim)


def _outcome(connection: Connection, claim: Claim) -> RecordOutcome | None:
    """The outcome of this claim; None while it still holds, which means that nothing was written."""
    return rows(connection, queries.READ_BACK, _key(claim), _meaning)[0]


def _meaning(*, recorded: bool, held: bool) -> RecordOutcome | None:
    if recorded:
        return RecordOutcome.RECORDED
    return None if held else RecordOutcome.LEASE_LOST


def _key(claim: Claim) -> dict[str, Any]:
    return {"check_id": claim.check_id, "lease_token": claim.lease_token}
