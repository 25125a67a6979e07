"""Recording a verdict: one transaction that ends a check, or leaves no trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from psycopg.types.json import Jsonb

from schema.scan import Scan
from schema.verdict import Verdict
from worker.errors import TransientError
from worker.store import queries
from worker.store.database import Connection, Database, rows
from worker.store.scans import keep_scan
from worker.store.types import Claim, RecordOutcome, StoredScan


def record(
    database: Database,
    claim: Claim,
    scan: Scan | StoredScan,
    verdict: Verdict,
    *,
    policy_document: Mapping[str, Any],
    map_png: bytes | None,
) -> RecordOutcome:
    """End the check with this verdict, if the claim still holds. Calling it again changes nothing.

    When the connection breaks, the transaction may or may not have been committed; the ledger is asked which.
    """
    try:
        return _write(database, claim, scan, verdict, policy_document=policy_document, map_png=map_png)
    except TransientError as broken:
        outcome = _read_back(database, claim)
        if outcome is None:
            raise broken from broken.__cause__
        return outcome


def _write(
    database: Database,
    claim: Claim,
    scan: Scan | StoredScan,
    verdict: Verdict,
    *,
    policy_document: Mapping[str, Any],
    map_png: bytes | None,
) -> RecordOutcome:
    content_sha256 = (scan.scan if isinstance(scan, StoredScan) else scan).content_sha256
    with database.connection() as connection, connection.transaction():
        finished = connection.execute(queries.FINISH, {**_key(claim), "content_sha256": content_sha256}).rowcount
        if not finished:
            return _outcome(connection, claim) or RecordOutcome.LEASE_LOST
        policy = {**asdict(verdict.policy), "document": Jsonb(dict(policy_document))}
        connection.execute(queries.KEEP_POLICY, policy)
        values = {
            # The token of the lease it was written under: so a worker can ask whether this is its own verdict.
            "id": claim.lease_token,
            "check_id": claim.check_id,
            "scan_id": keep_scan(connection, scan, map_png),
            "policy_name": verdict.policy.name,
            "policy_version": verdict.policy.version,
            "decision": str(verdict.decision),
            "score": verdict.score,
            "class_scores": Jsonb(dict(verdict.class_scores)),
            "generator": verdict.generator,
            "reasons": [str(reason) for reason in verdict.reasons],
            "needs_review": verdict.needs_review,
            "regions": Jsonb([asdict(region) for region in verdict.regions]),
        }
        if not connection.execute(queries.ADD_VERDICT, values).rowcount:
            connection.execute(queries.PROMOTE_SHADOW, values)
        return RecordOutcome.RECORDED


def _read_back(database: Database, claim: Claim) -> RecordOutcome | None:
    with database.connection() as connection:
        connection.execute(queries.AWAIT_CHECK, _key(claim))
        return _outcome(connection, claim)


def _outcome(connection: Connection, claim: Claim) -> RecordOutcome | None:
    """What the ledger says of this claim; None while it still holds, so that nothing was written."""
    return rows(connection, queries.READ_BACK, _key(claim), _meaning)[0]


def _meaning(*, recorded: bool, held: bool) -> RecordOutcome | None:
    if recorded:
        return RecordOutcome.RECORDED
    return None if held else RecordOutcome.LEASE_LOST


def _key(claim: Claim) -> dict[str, Any]:
    return {"check_id": claim.check_id, "lease_token": claim.lease_token}
