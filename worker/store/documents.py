"""A check as JSON: what `susy show --json` prints and the HTTP service answers."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from schema.verdict import verdict_document
from worker.store.types import CheckDetails


def check_document(check: CheckDetails) -> dict[str, Any]:
    """The JSON object of a check: its state, and its verdict once it has one. Times are ISO 8601 in UTC."""
    document: dict[str, Any] = {
        "check_id": str(check.check_id),
        "state": str(check.state),
        "attempts": check.attempts,
        "error": asdict(check.error) if check.error else None,
        "source": check.source,
        "external_id": check.external_id,
        "uri": check.uri,
        "lane": str(check.lane),
        "attributes": dict(check.attributes),
        "created_at": check.created_at.isoformat(),
        "started_at": _time(check.started_at),
        "finished_at": _time(check.finished_at),
        "expires_at": _time(check.expires_at),
        "etag": check.etag,
        "version_id": check.version_id,
        "fetched_etag": check.fetched_etag,
        "fetched_version_id": check.fetched_version_id,
        "source_changed": check.source_changed,
    }
    if check.scan is not None and check.verdict is not None:
        document |= verdict_document(check.scan, check.verdict)
    return document


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
