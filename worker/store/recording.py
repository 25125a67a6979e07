"""Recording an examination: one transaction that ends a check, or leaves no trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from psycopg import Rollback
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from schema.examination import Examination
from schema.verdict import Verdict
from worker.errors import TransientError
from worker.store import queries
from worker.store.connection import Connection
from worker.store.database import PATIENT, Database, rows
from worker.store.scans import keep_scan
from worker.store.types import Claim, RecordOutcome


def record(database: Database, claim: Claim, examination: Examination) -> RecordOutcome:
    """End the check with this verdict, if the claim still holds. Repeating the call changes nothing.

    When the connection breaks, the transaction may have been committed or not; the ledger is asked which.
    """
    try:
        return _write(database, claim, examination)
    except TransientError as broken:
        outcome = _read_back(database, claim)
        if outcome is None:
            raise broken from broken.__cause__
        return outcome


def _write(database: Database, claim: Claim, examination: Examination) -> RecordOutcome:
    verdict = examination.verdict
    content = {"content_sha256": examination.scan.content_sha256, **asdict(examination.source_version)}
    with database.connection(PATIENT) as connection:
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
                connection.execute(
                    queries.ADD_SHADOW_VERDICT, _verdict_columns(uuid7(), claim, scan_id, shadow.verdict)
                )
        return RecordOutcome.RECORDED if is_held else _outcome(connection, claim) or RecordOutcome.LEASE_LOST


def _policy_columns(verdict: Verdict, document: Mapping[str, Any]) -> dict[str, Any]:
    return {**asdict(verdict.policy), "document": Jsonb(dict(document))}


def _verdict_columns(verdict_id: UUID, claim: Claim, scan_id: UUID, verdict: Verdict) -> dict[str, Any]:
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
