"""Policies in the ledger: versions that never change, and the numbered configurations that say which of them decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from schema.states import Decision
from schema.verdict import PolicyVersion
from worker.errors import ErrorCode, PermanentError
from worker.store import queries
from worker.store.cases import CaseTable
from worker.store.database import PATIENT, Database
from worker.store.scans import ScanColumns
from worker.store.types import DecidedScan, PolicyChange, PolicyRevision, StoredPolicy

LARGEST_WINDOW = 32_000
"""Checks among which one statement looks for those that are wanted."""


class PolicyLedger:
    """The part of a store that holds the policies; raises as its store does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.cases = CaseTable(database)

    def put(self, version: PolicyVersion, document: Mapping[str, Any]) -> bool:
        """Store a version; False when it was stored before. It decides nothing until it is activated."""
        values = {"name": version.name, "version": version.version, "document": Jsonb(dict(document))}
        return self._database.execute(queries.KEEP_POLICY, values) > 0

    def documents(self, versions: Iterable[PolicyVersion]) -> dict[PolicyVersion, Mapping[str, Any]]:
        """Those of the versions that are stored, each with its whole policy."""
        wanted = list(versions)
        values = {"names": [each.name for each in wanted], "versions": [each.version for each in wanted]}
        found: list[tuple[PolicyVersion, Mapping[str, Any]]] = self._database.rows(
            queries.POLICY_DOCUMENTS, values, _document
        )
        return dict(found)

    def versions(self) -> list[StoredPolicy]:
        """Every stored version, by name, the youngest first."""
        return self._database.rows(queries.POLICY_VERSIONS, {}, _stored)

    def revision(self, *, above: int = 0) -> PolicyRevision | None:
        """The configuration that applies; None when no number is higher than `above`."""
        return self._database.row(queries.POLICY_REVISION, {"above": above}, PolicyRevision)

    def revision_at(self, revision: int) -> PolicyRevision:
        """The configuration of that number. Raises `PermanentError` (`unknown_policy`)."""
        found = self._database.row(queries.POLICY_REVISION_AT, {"revision": revision}, PolicyRevision)
        if found is None:
            raise PermanentError(
                ErrorCode.UNKNOWN_POLICY, f"there is no revision {revision}; `susy policy history` lists them"
            )
        return found

    def change(
        self, revision: int, configuration: Mapping[str, Any], *, change: str, changed_by: str, reason: str
    ) -> None:
        """Make `configuration` apply as the given revision, which follows the one it was derived from.

        Raises `PermanentError` (`conflict`) when somebody else's change has that number; nothing is written then.
        """
        values = {
            "revision": revision,
            "configuration": Jsonb(dict(configuration)),
            "change": change,
            "changed_by": changed_by,
            "reason": reason,
        }
        if self._database.execute(queries.CHANGE_POLICIES, values) == 0:
            raise PermanentError(
                ErrorCode.CONFLICT,
                f"somebody else changed the policies to revision {revision} in the meantime; look at "
                "`susy policy history`, and repeat the change if it is still right",
            )

    def decided_scans(
        self,
        *,
        since: datetime | None = None,
        source: str | None = None,
        decided_by: PolicyVersion | str | None = None,
        unless_by: PolicyVersion | None = None,
        batch: int = 1000,
    ) -> Iterator[list[DecidedScan]]:
        """The checks that have a verdict, oldest first, in batches; no statement locks anything, or runs for long.

        `decided_by` restricts them to verdicts of a policy or of one version of it; `unless_by` leaves out those of a
        version. A batch is empty where none of many checks was selected.
        """
        by_name, by_version = (
            (decided_by.name, decided_by.version) if isinstance(decided_by, PolicyVersion) else (decided_by, None)
        )
        values = {
            "since": since,
            "source": source,
            "decided_by": by_name,
            "decided_by_version": by_version,
            "except_name": None if unless_by is None else unless_by.name,
            "except_version": None if unless_by is None else unless_by.version,
            "limit": batch,
        }
        after, window = UUID(int=0), batch
        while True:
            place = {"after": after, "window": window}
            [until] = self._database.scalars(queries.NEXT_CHECKS, place, PATIENT)
            if until is None:
                return
            place = {"after": after, "until": until}
            scans = self._database.tuples(queries.DECIDED_SCANS, {**values, **place}, _decided_scan, PATIENT)
            yield scans
            after = scans[-1].check_id if len(scans) == batch else until
            # Checks that are not selected are passed over in larger steps.
            window = min(window * 2, LARGEST_WINDOW) if len(scans) < batch // 2 else batch

    def latest_classes(self) -> tuple[str, ...] | None:
        """The classes of the detector that made the latest scan, the authentic one first; None without a scan."""
        found: list[list[str]] = self._database.scalars(queries.LATEST_CLASSES, {})
        return tuple(found[0]) if found else None

    def history(self, limit: int) -> list[PolicyChange]:
        """The latest changes, the youngest first."""
        return self._database.rows(queries.POLICY_HISTORY, {"limit": limit}, PolicyChange)


def _document(*, name: str, version: str, document: Mapping[str, Any]) -> tuple[PolicyVersion, Mapping[str, Any]]:
    return PolicyVersion(name, version), document


def _decided_scan(
    check_id: UUID,
    source: str,
    created_at: datetime,
    verdict_id: UUID,
    policy_name: str,
    policy_version: str,
    decision: str,
    generator: str | None,
    needs_review: bool,
    scan_is_unchanged: bool,
    review_decision: str | None,
    *columns: Any,
) -> DecidedScan:
    return DecidedScan(
        check_id=check_id,
        source=source,
        created_at=created_at,
        verdict_id=verdict_id,
        policy=PolicyVersion(policy_name, policy_version),
        scan_is_unchanged=scan_is_unchanged,
        decision=Decision(decision),
        generator=generator,
        needs_review=needs_review,
        review=None if review_decision is None else Decision(review_decision),
        columns=ScanColumns(*columns),
    )


def _stored(*, name: str, version: str, **columns: Any) -> StoredPolicy:
    return StoredPolicy(PolicyVersion(name, version), **columns)
